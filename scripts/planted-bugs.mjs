/**
 * Runs the conformance suite of the built package on each planted bug, and writes docs/planted-bugs.md.
 *
 *   npm run planted-bugs
 *
 * It takes some minutes.
 */
import { writeFileSync } from 'node:fs';
import { brokenBackends } from '../dist/conformance/broken/index.js';
import { goldens } from '../dist/conformance/goldens.js';
import { conformance } from '../dist/conformance/suite.js';
import { examples, isSought, page } from './planted-bugs-page.mjs';

const casesOf = ({ backend }, profile) =>
  conformance(backend, { profile, goldens: goldens(), threads: [1, 2] });
const isCaught = one => ['fail', 'error'].includes(one.run().outcome);

function caught(broken, profile) {
  const sought = casesOf(broken, profile).filter(one => isSought(broken.op, one));
  const addresses = sought.filter(isCaught).map(({ address }) => address);
  // A bug that remembers may show in a case only because of another one before it: named is what catches it alone.
  const alone = address => isCaught(casesOf(broken, profile).find(one => one.address === address));
  return { addresses, named: examples(addresses, alone), of: sought.length };
}

const rows = brokenBackends.map(broken => {
  const row = { ...broken, exact: caught(broken, 'exact'), tolerant: caught(broken, 'tolerant') };
  console.log(
    `${row.name}: ${row.exact.addresses.length}, ${row.tolerant.addresses.length} of ${row.exact.of}`,
  );
  return row;
});
writeFileSync('docs/planted-bugs.md', page(rows));
