/**
 * The wasm tests, the conformance suite, and the bits of every recipe (golden/hashes.json) under other releases of Node, whose
 * engines compile WebAssembly otherwise. Each comes from npm, as a package of one binary, and goes away again.
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
import { counts } from './report.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const MAJORS = ['20', '22', '24', '26'];
const WASM = ['wasm', 'threads', 'sequences'].map(name => `test/backends/wasm/${name}.test.ts`);
const TESTS = [...WASM, 'test/cli/doctor.test.ts'];
const THREADS = ['1', '2'];

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
  for (const [what, counted] of [
    ['tests', await tested(binary, major)],
    ['conformance', await conformed(binary)],
    ...(await hashed(binary)),
  ]) {
    console.log(`${name} · ${what} · ${say(counted)}`);
    total.passed += counted.passed;
    total.failed += counted.failed;
  }
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

/** What the tests find under a Node. No report, as where vitest itself does not run there, is a failure. */
async function tested(binary, major) {
  const report = join(work, `${major}.json`);
  const options = ['--reporter=dot', '--reporter=json', `--outputFile.json=${report}`];
  const { stdout, stderr } = await run(binary, 'node_modules/vitest/vitest.mjs', 'run', ...TESTS, ...options);
  const found = counts(report);
  if (found.passed + found.failed > 0 && found.failed === 0) return found;
  console.error(`${stdout}${stderr}`.trim());
  return { ...found, failed: Math.max(found.failed, 1) };
}

/** What the whole conformance suite says of the kernels that a Node chooses. */
async function conformed(binary) {
  const { stdout, stderr } = await run(binary, 'dist/cli/main.js', 'conform', '--backend', 'wasm', '--json');
  const report = parsed(stdout);
  if (report?.ok) return { passed: report.passed, failed: 0 };
  console.error(report?.says ?? stderr.trim());
  return { passed: report?.passed ?? 0, failed: Math.max(1, (report?.failed ?? 0) + (report?.errors ?? 0)) };
}

/** The kernels that a Node's doctor chose, and why it did not choose others, whose tests then do not run. */
async function kernels(binary) {
  const { stdout } = await run(binary, 'dist/cli/main.js', 'doctor', '--json');
  const { kernels } = parsed(stdout) ?? {};
  if (!kernels) return 'doctor gave no answer';
  const left = kernels.tried.flatMap(({ usable, name, why }) => (usable ? [] : `${name} skipped: ${why}`));
  return [`${kernels.chosen ?? 'no'} kernels`, ...left].join(' · ');
}

/** The bits of every recipe, for each number of threads. */
async function hashed(binary) {
  const found = [];
  for (const threads of THREADS) {
    const { stdout, stderr } = await run(binary, 'scripts/hashes.mjs', '--threads', threads);
    const [passed, failed] = (/^(\d+) passed, (\d+) failed$/m.exec(stdout)?.slice(1) ?? [0, 1]).map(Number);
    if (failed > 0) console.error(`${stdout}${stderr}`.trim());
    found.push([`golden/hashes.json, --threads ${threads}`, { passed, failed }]);
  }
  return found;
}

/** What a program prints, however it ends. */
function run(binary, ...args) {
  return new Promise(resolve =>
    execFile(binary, args, { maxBuffer: 1 << 28 }, (_, stdout, stderr) => resolve({ stdout, stderr })),
  );
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {{ passed: number, failed: number, skipped?: number }} counted */
function say({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`;
}
