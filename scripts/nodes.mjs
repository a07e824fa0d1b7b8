/**
 * The wasm tests, the conformance suite, and the bits of every recipe (golden/hashes.json, and the files of other models beside it)
 * under other releases of Node, whose engines compile WebAssembly otherwise. Each comes from npm, as a package of one binary, and goes
 * away again.
 *
 *   node scripts/nodes.mjs [major …]
 *
 * The last line is `N passed, N failed`; exits with 1 on any failure, and where nothing ran.
 */
import { exec, execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { files } from '../golden/hashes.mjs';
import { counts } from './report.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const MAJORS = ['20', '22', '24', '26'];
const WASM = ['wasm', 'threads', 'sequences'].map(name => `test/backends/wasm/${name}.test.ts`);
const TESTS = [...WASM, 'test/cli/doctor.test.ts', '--reporter=dot', '--reporter=json'];
/** Programs whose last line says how many passed and failed. */
const PROGRAMS = {
  conformance: ['dist/cli/main.js', 'conform', '--backend', 'wasm'],
  ...Object.fromEntries(
    Object.keys(files).flatMap(model =>
      ['1', '2'].map(threads => [
        `the bits of ${model}, --threads ${threads}`,
        ['scripts/hashes.mjs', '--model', model, '--threads', threads],
      ]),
    ),
  ),
};

const windows = process.platform === 'win32';
const PACKAGE = `node-${windows ? 'win' : process.platform}-${process.arch}`;

const work = mkdtempSync(join(tmpdir(), 'quamba-nodes-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const asked = process.argv.slice(2);
const current = process.versions.node.split('.')[0];
const others = asked.length > 0 ? asked : MAJORS.filter(major => major !== current);

const total = { passed: 0, failed: 0 };

for (const major of others) {
  const binary = await fetched(major);
  if (!binary) continue;
  const name = `node ${(await run(binary, '--version')).stdout.trim()}`;
  console.log(`${name} · ${await kernels(binary)}`);
  const report = join(work, `${major}.json`);
  const vitest = ['node_modules/vitest/vitest.mjs', 'run', ...TESTS, `--outputFile.json=${report}`];
  await judge(binary, `${name} · tests`, vitest, () => counts(report));
  for (const [what, args] of Object.entries(PROGRAMS))
    await judge(binary, `${name} · ${what}`, args, countsIn);
}
console.log(say(total));
process.exit(total.passed > 0 && total.failed === 0 ? 0 : 1);

/** The binary of the newest release of a major version; undefined, and a line that says why, where it cannot be had. */
async function fetched(major) {
  const wanted = `${PACKAGE}@${major}`;
  const folder = mkdtempSync(join(work, `${major}-`));
  try {
    const { stdout } = await promisify(exec)(`npm pack --silent --loglevel=error ${wanted}`, { cwd: folder });
    await promisify(execFile)('tar', ['-xzf', stdout.trim()], { cwd: folder });
    return join(folder, 'package', 'bin', windows ? 'node.exe' : 'node');
  } catch ({ stderr, message }) {
    const code = /\bnpm error code (\w+)/.exec(stderr)?.[1];
    const why = { E404: `npm has no package ${PACKAGE}`, ETARGET: `npm has no release ${wanted}` }[code];
    console.log(`node ${major} · skipped: ${why ?? `${wanted} could not be fetched (${code ?? message})`}`);
  }
}

/** Runs a program under a Node. One that passes nothing, as where it does not run there, is a failure, and shows what it printed. */
async function judge(binary, title, args, countsOf) {
  const { stdout, stderr } = await run(binary, ...args);
  const found = countsOf(stdout);
  if (found.passed === 0 || found.failed > 0) {
    console.error(`${stdout}${stderr}`.trim());
    found.failed = Math.max(found.failed, 1);
  }
  console.log(`${title} · ${say(found)}`);
  total.passed += found.passed;
  total.failed += found.failed;
}

/** As the last line of a program has them. */
function countsIn(stdout) {
  const line = stdout.trimEnd().split('\n').at(-1);
  const count = words => Number(new RegExp(`(\\d+) ${words}`).exec(line)?.[1] ?? 0);
  return { passed: count('passed'), failed: count('failed') + count('ended in an error') };
}

/** The kernels that a Node's doctor chose, and why it did not choose others, whose tests then do not run. */
async function kernels(binary) {
  const { stdout } = await run(binary, 'dist/cli/main.js', 'doctor', '--json');
  let kernels;
  try {
    ({ kernels } = JSON.parse(stdout));
  } catch {
    return 'doctor gave no answer';
  }
  if (!kernels) return 'doctor did not say which kernels it chose';
  const left = kernels.tried.flatMap(({ usable, name, why }) => (usable ? [] : `${name} skipped: ${why}`));
  return [`${kernels.chosen ?? 'no'} kernels`, ...left].join(' · ');
}

/** What a program prints, however it ends. */
function run(binary, ...args) {
  return promisify(execFile)(binary, args, { maxBuffer: 1 << 28 }).catch(output => output);
}

/** @param {{ passed: number, failed: number, skipped?: number }} counted */
function say({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`;
}
