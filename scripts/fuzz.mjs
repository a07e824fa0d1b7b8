/**
 * The differential fuzz (test/fuzz): random recipes, models and texts, on which every path of the product gives the same bits or
 * the same sentence, and every Node the same.
 *
 *   node scripts/fuzz.mjs [--minutes N | --runs N] [--seed S] [--node PATH]…
 *
 * A case is a seed; `--seed S --runs 1` is that of seed S alone. Without a seed it begins at one of its own, which it prints. The
 * last line is `N passed, N failed`; exits with 1 on any failure.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { rolldown } from 'rolldown';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const values = given();
const [minutes, runs, first] = [values.minutes, values.runs, values.seed].map(Number);
if (!(minutes > 0 && runs > 0 && Number.isSafeInteger(first))) {
  console.error('fuzz: expected --minutes and --runs above 0, and a whole number as --seed');
  process.exit(2);
}
const until = performance.now() + (runs < Infinity ? Infinity : minutes * 60_000);

/** Seeds that a Node is given at once. */
const BATCH = 10;
const EVERY = 15_000; // milliseconds from one line of progress to the next

const work = mkdtempSync(join(tmpdir(), 'quamba-fuzz-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

// One file, which every Node runs without knowing of TypeScript.
const program = join(work, 'fuzz.mjs');
const build = await rolldown({ input: 'test/fuzz/main.ts', platform: 'node' });
await build.write({ file: program, codeSplitting: false });
await build.close();

const nodes = [process.execPath, ...values.node].map(path => ({
  path,
  child: fork(program, [], { execPath: path }),
}));
process.on('exit', () => {
  for (const { child } of nodes) child.kill();
});

function given() {
  try {
    return parseArgs({
      options: {
        minutes: { type: 'string', default: '1' },
        runs: { type: 'string', default: 'Infinity' },
        seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
        node: { type: 'string', multiple: true, default: [] },
      },
    }).values;
  } catch (error) {
    console.error(`fuzz: ${error.message}`);
    process.exit(2);
  }
}

/** What a Node says of some seeds: one verdict each. A Node that ends instead says so of the first of them. */
async function ask({ path, child }, seeds) {
  child.send(seeds);
  const stop = new AbortController();
  const ended = once(child, 'exit', { signal: stop.signal }).then(([code, signal]) => [
    [
      {
        seed: seeds[0],
        error: `${path} ended with ${signal ?? code} in one of the seeds ${seeds.join(', ')}`,
      },
    ],
  ]);
  const said = once(child, 'message', { signal: stop.signal });
  const [verdicts] = await Promise.race([said, ended]);
  stop.abort();
  return verdicts;
}

console.log(`fuzz: from seed ${first} on, under ${nodes.map(({ path }) => path).join(', ')}`);
const counts = { passed: 0, failed: 0 };
const kinds = {};
let said = performance.now();
const begin = said;
for (let at = 0; at < runs && performance.now() < until; at += BATCH) {
  const seeds = Array.from({ length: Math.min(BATCH, runs - at) }, (_, i) => first + at + i);
  const [own, ...others] = await Promise.all(nodes.map(node => ask(node, seeds)));
  for (const [i, { seed, kind, hash, error }] of own.entries()) {
    const elsewhere = others.map((verdicts, n) => {
      const other = verdicts[i] ?? {};
      return other.hash === hash
        ? ''
        : `${values.node[n]}: ${other.error ?? `hash ${other.hash}; here ${hash}`}`;
    });
    const wrong = error ?? elsewhere.find(Boolean);
    counts[wrong ? 'failed' : 'passed']++;
    kinds[kind ?? 'differed'] = (kinds[kind ?? 'differed'] ?? 0) + 1;
    if (wrong) console.log(`\n${wrong}\nagain: npm run fuzz -- --seed ${seed} --runs 1\n`);
  }
  if (own.length < seeds.length || nodes.some(({ child }) => child.exitCode !== null)) break;
  if (performance.now() - said < EVERY) continue;
  said = performance.now();
  console.log(
    `${((said - begin) / 60_000).toFixed(1)} min · ${JSON.stringify(kinds)} · next seed ${first + at + BATCH}`,
  );
}
console.log(JSON.stringify(kinds));
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exit(counts.passed > 0 && counts.failed === 0 ? 0 : 1);
