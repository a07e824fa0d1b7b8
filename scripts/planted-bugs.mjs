/**
 * Runs the conformance suite of the built package on each planted bug, and writes docs/planted-bugs.md.
 *
 *   npm run planted-bugs
 *
 * It takes some minutes.
 */
import { writeFileSync } from 'node:fs';
import { goldens } from '../dist/cli/conform-sources.js';
import { brokenBackends } from '../dist/conformance/broken/index.js';
import { conformance } from '../dist/conformance/suite.js';
import { isSought, page } from './planted-bugs-page.mjs';

function caught({ backend, op }, profile) {
  const cases = conformance(backend, { profile, goldens: goldens(), threads: [1, 2] });
  const sought = cases.filter(one => isSought(op, one));
  const wrong = sought.filter(one => ['fail', 'error'].includes(one.run().outcome));
  return { addresses: wrong.map(({ address }) => address), of: sought.length };
}

const rows = brokenBackends.map(broken => {
  const row = { ...broken, exact: caught(broken, 'exact'), tolerant: caught(broken, 'tolerant') };
  console.log(
    `${row.name}: ${row.exact.addresses.length}, ${row.tolerant.addresses.length} of ${row.exact.of}`,
  );
  return row;
});
writeFileSync('docs/planted-bugs.md', page(rows));
