/**
 * The CUDA backend against the reference, bit by bit, on a GPU: the conformance suite in its exact profile, and what lies beyond
 * it: long rows, wild values (denormals, infinities, NaN), all exponents of a float, whole plans at the widths of mamba-130m and
 * 2.8b, every way to run a token, several sequences, checkpoints. Two NaNs count as the same. Needs dist/ and the library (npm run
 * build:cuda), and:
 *
 *   node scripts/test-cuda.mjs [--brief] [--only op,…] [--section WORDS]
 *
 * --brief: small sizes and quick cases. --only: single ops. --section: what has these words in its title.
 *
 * The last line is `N passed, N failed`. Without a GPU it says why nothing ran, and exits with 0.
 */
import { parseArgs } from 'node:util';
import { cuda } from '../dist/backends/cuda/index.js';
import { embeddedModels, goldens } from '../dist/conformance/goldens.js';
import { conformance } from '../dist/conformance/suite.js';
import { groupBy } from '../dist/group-by.js';
import { hybridSections } from './test-cuda-hybrid.mjs';
import { opSections } from './test-cuda-ops.mjs';
import { planSections } from './test-cuda-plans.mjs';

const { values: options } = parseArgs({
  options: {
    brief: { type: 'boolean', default: false },
    only: { type: 'string' },
    section: { type: 'string', default: '' },
  },
});
const { brief } = options;
const only = options.only?.split(',');
const total = { passed: 0, failed: 0 };
const lacking = new Set(); // kernels, by what the suite says

const found = cuda();
if ('why' in found) {
  console.log(`skipped, every op and plan on the GPU: ${found.why}`);
  console.log('0 passed, 0 failed');
  process.exit(0);
}
const { backend, about } = found;
const { name: card, sm, multiprocessors, memory } = about.device;
console.log(
  `${card}, sm_${sm}, ${multiprocessors} multiprocessors, ${(memory / 2 ** 30).toFixed(0)} GiB · ${about.library} · built for ${about.builtFor}`,
);
await suite();
const plans = { ...planSections(found, { brief }), ...hybridSections(found, { brief }) };
const beyond = { ...opSections(backend, { brief, only }), ...(!only && plans) };
for (const [title, run] of Object.entries(beyond)) await section(title, run);
for (const reason of lacking) console.log(`not run: ${reason}`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.passed > 0 && total.failed === 0 ? 0 : 1);

/** The conformance suite, a line for each family, and for each op in it. */
async function suite() {
  const chosen = conformance(backend, { goldens: goldens(), models: embeddedModels() }).filter(
    ({ address, quick }) =>
      (quick || !brief) && (!only || only.some(name => address.startsWith(`op/${name}/`))),
  );
  const groupOf = ({ address }) => /^(?:op\/)?[^/]+/.exec(address)?.[0] ?? '';
  for (const [group, cases] of groupBy(chosen, groupOf))
    await section(`conformance ${group}`, check => {
      for (const c of cases) {
        const { outcome, reason } = c.run();
        if (outcome === 'unsupported') lacking.add(reason);
        else if (outcome !== 'skipped') check(c.address, outcome === 'pass' ? '' : `${outcome}: ${reason}`);
      }
    });
}

/** Runs the checks of one subject and prints a line. `check(what, difference)`: '' where there is none. */
async function section(title, run) {
  if (!title.includes(options.section)) return;
  const begin = performance.now();
  const failures = [];
  let count = 0;
  const check = (what, difference) => {
    count++;
    if (difference) failures.push(`${what}: ${difference}`);
  };
  try {
    await run(check);
  } catch (error) {
    check(title, error.stack);
  }
  total.passed += count - failures.length;
  total.failed += failures.length;
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  console.log(
    `${title.padEnd(40)} ${String(count - failures.length).padStart(6)} same, ${failures.length} differ · ${seconds} s`,
  );
  for (const failure of failures.slice(0, 5)) console.log(`  ${failure}`);
}
