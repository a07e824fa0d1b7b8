/**
 * Builds the CUDA sources for a CPU, with the headers and the runtime of cuda/emulate/ in the place of NVIDIA's, so that the bits
 * of every kernel can be tested without a GPU. Needs g++ (or CXX).
 *
 *   node scripts/build-cuda-emulated.mjs [--out FILE]              cuda/build/libquamba_cuda_emulated.so, for QUAMBA_CUDA_LIB
 *   node scripts/build-cuda-emulated.mjs --out FILE SOURCE.cu …    a program of these, which may include what lies in cuda/
 *
 * A kernel that goes wrong (a deadlock, a write out of bounds, a misaligned vector, lanes that are missing) ends the process with
 * a line that names it. New memory holds 0xff. QUAMBA_EMULATE_REVERSED=1 runs the threads in the opposite order.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: 'string' } } });
const cuda = fileURLToPath(new URL('../cuda', import.meta.url));
const emulate = fileURLToPath(new URL('../cuda/emulate', import.meta.url));
const out = resolve(values.out ?? join(cuda, 'build', 'libquamba_cuda_emulated.so'));
const program = positionals.length > 0;

/** No contraction: one rounding for each operation. Sources read int8 as words, which is not C++'s but CUDA's habit. */
const FLAGS = [
  '-std=c++17 -O2 -ffp-contract=off -fno-strict-aliasing -fwrapv -fPIC -DQUAMBA_BUILD -fvisibility=hidden',
  '-fsanitize=alignment,bounds -fno-sanitize-recover=all -Wno-unknown-pragmas',
].flatMap(line => line.split(' '));

const work = mkdtempSync(join(tmpdir(), 'quamba-emulated-'));
process.on('exit', () => rmSync(work, { recursive: true, force: true }));

const SHARED = /(\bextern\s+)?\b__shared__\s+((?:__align__|alignas)\s*\([^;]*?\)\s+)?([^;]+);/g;
const LAUNCH = /((?:\w+::)*\w+\s*(?:<(?:[^<>(){};?&|]|\([^()]*\)|<[^<>]*>)*>)?\s*)<<<([^;]*?)>>>/g;
const TEMPLATE_KERNEL =
  /\btemplate\s*<[^;{]*>\s*(?:static\s+)?__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)/g;

const own = readdirSync(cuda).filter(name => /\.(?:cuh?|cpp|h)$/.test(name) && name !== 'ptx.cuh');
const given = positionals.map(path => resolve(path));
const paths = [...new Set([...own.map(name => join(cuda, name)), ...given])];
const templates = new Set(
  paths.flatMap(path => [...sourceOf(path).matchAll(TEMPLATE_KERNEL)].map(([, name]) => name)),
);
let declarations = 0;
cpSync(emulate, work, { recursive: true });
for (const path of paths) rewrite(path);
const sources = program ? given.map(path => basename(path)) : own.filter(name => /\.(?:cu|cpp)$/.test(name));
const runtime = readdirSync(emulate).filter(name => name.endsWith('.cpp'));

const begin = performance.now();
const objects = [...sources, ...runtime].map(name => ({ name, object: join(work, `${name}.o`) }));
const queue = [...objects];
let failed = false;
await Promise.all(Array.from({ length: Math.min(availableParallelism(), 8) }, compileNext));
if (failed) process.exit(1);
mkdirSync(dirname(out), { recursive: true });
const library = ['-shared', `-Wl,--version-script=${join(cuda, 'exports.map')}`];
const parts = objects.map(({ object }) => object);
const linked = await compiler([...FLAGS, ...(program ? [] : library), ...parts, '-o', out]);
if (!linked) process.exit(1);
console.log(`${out}, in ${((performance.now() - begin) / 1000).toFixed(0)} s`);

async function compileNext() {
  for (let next = queue.shift(); next; next = queue.shift()) {
    const device = next.name.endsWith('.cu') ? ['-include', 'cuda_runtime.h'] : [];
    const include = ['-I', work, '-I', join(cuda, 'include')];
    const from = ['-x', 'c++', '-c', join(work, next.name)];
    failed = !(await compiler([...FLAGS, ...include, ...device, ...from, '-o', next.object])) || failed;
  }
}

/** Whether it succeeded; it has said why not. */
async function compiler(args) {
  try {
    const [code] = await once(spawn(process.env.CXX ?? 'g++', args, { stdio: 'inherit' }), 'exit');
    return code === 0;
  } catch (error) {
    console.error(`${error.message}: this needs g++ (or CXX).`);
    return false;
  }
}

/**
 * A source as C++, in `work`, with the same lines. Two things are none: a variable in shared memory becomes a reference into the
 * block's, and `kernel<<<config>>>` an object that is called with the arguments.
 */
function rewrite(path) {
  const text = sourceOf(path)
    .replace(SHARED, (_, dynamic, alignment, declaration) => sharedVariables(dynamic, alignment, declaration))
    .replace(LAUNCH, (_, kernel, config) => launch(kernel.trim(), config));
  writeFileSync(join(work, basename(path)), `#line 1 "${path}"\n${text}`);
}

/** Without comments. */
function sourceOf(path) {
  const keep = found => (found[0] === '/' ? found.replace(/[^\n]/g, ' ') : found);
  return readFileSync(path, 'utf8').replace(
    /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])'|\/\/.*|\/\*[\s\S]*?\*\//g,
    keep,
  );
}

/** @type {(pattern: RegExp, text: string) => RegExpExecArray} */
function matched(pattern, text) {
  const found = pattern.exec(text);
  if (!found) throw new Error(`expected ${pattern}; got '${text}'`);
  return found;
}

/** `float a[N], b`, or `float a[]` where it is dynamic. */
function sharedVariables(dynamic, alignment, declaration) {
  const [first, ...others] = declaration.split(/,(?![^<]*>|[^[]*\]|[^(]*\))/);
  const [, type, declarator] = matched(/^(.*[\s>])(\w+\s*(?:\[.*)?)$/s, first.trim());
  const variables = [declarator, ...others].map(text => {
    const [, name, size] = matched(/^\s*(\w+)\s*(.*)$/s, text);
    if (dynamic) return `${type}* const ${name} = static_cast<${type}*>(emulated::dynamicShared());`;
    const aligned = alignment ? matched(/\((.*)\)/s, alignment)[1] : `alignof(${type})`;
    return `auto& ${name} = emulated::shared<${type}${size}>(${declarations++}, ${aligned});`;
  });
  return variables.join(' ');
}

/** A kernel whose template arguments are deduced has an address only for the types of its arguments. */
function launch(kernel, config) {
  const template = templates.has(/^\w+(?=\s*<|$)/.exec(kernel)?.[0] ?? '');
  const pointer = template ? `static_cast<void (*)(decltype(a)...)>(${kernel})` : `+${kernel}`;
  const address = `[=](auto... a) -> decltype(${pointer}) { return ${pointer}; }`;
  const call = `[=](auto... a) { ${kernel}(a...); }`;
  return `emulated::Launch{"${kernel}", ${address}, ${call}, emulated::Config(${config})}`;
}
