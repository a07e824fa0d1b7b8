/**
 * Builds cuda/build/libquamba_cuda.so with nvcc: machine code for each architecture, and PTX of the last for newer ones.
 *
 *   node scripts/build-cuda.mjs [--arch 80,87,89,90] [--out FILE]
 *
 * Prints what each kernel uses of registers and shared memory. A kernel that spills fails the build.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

const cuda = fileURLToPath(new URL('../cuda', import.meta.url));
const { values } = parseArgs({
  options: {
    arch: { type: 'string', default: '80,87,89,90' },
    out: { type: 'string', default: join(cuda, 'build', 'libquamba_cuda.so') },
  },
});
const architectures = values.arch.split(',');
const out = values.out;

/** No FMA, real division and square root, denormals: one rounding for each operation. */
const BITS = ['--fmad=false', '-prec-div=true', '-prec-sqrt=true', '-ftz=false'];
const sources = readdirSync(cuda).filter(name => /\.(?:cu|cpp)$/.test(name));
const code = architectures.flatMap((arch, i) => {
  const last = i === architectures.length - 1;
  return ['-gencode', `arch=compute_${arch},code=${last ? `[sm_${arch},compute_${arch}]` : `sm_${arch}`}`];
});

mkdirSync(dirname(out), { recursive: true });
const begin = performance.now();
const { stderr } = await nvcc([
  ...['-std=c++17', '-O3', ...BITS, '--extended-lambda', '-shared', '-DQUAMBA_BUILD'],
  ...['-I', join(cuda, 'include')],
  ...['-Xcompiler', '-fPIC,-fvisibility=hidden', '-Xlinker', `--version-script=${join(cuda, 'exports.map')}`],
  ...['-Xptxas', '-v', '--threads', '0', ...code, ...sources.map(name => join(cuda, name)), '-o', out],
]);

const rows = kernels(stderr);
for (const row of rows) console.log(row.text);
const seconds = ((performance.now() - begin) / 1000).toFixed(0);
console.log(`${out}: ${architectures.map(arch => `sm_${arch}`).join(', ')} and PTX, in ${seconds} s`);
const spilling = rows.filter(({ spills }) => spills);
if (spilling.length) fail(`${spilling.length} kernels spill registers or have a stack.`);

async function nvcc(args) {
  try {
    return await promisify(execFile)('nvcc', args, { maxBuffer: 1 << 28 });
  } catch (error) {
    if (error.code === 'ENOENT') fail('nvcc is not on the PATH: install the CUDA toolkit, 12 or newer.');
    return fail(`${error.stderr}\nnvcc failed.`);
  }
}

/** What ptxas says of each kernel: { text, spills }, by architecture and name. */
function kernels(log) {
  const found = [];
  let about = {};
  for (const line of log.split('\n')) {
    const [, mangled, arch] = /Compiling entry function '(\w+)' for '(\w+)'/.exec(line) ?? [];
    if (mangled) about = { name: readable(mangled), arch, stack: '' };
    if (/bytes stack frame/.test(line)) about.stack = /\b[1-9]\d* bytes/.test(line) ? line.trim() : '';
    const [, used] = /: Used (.*)/.exec(line) ?? [];
    if (!used || !about.name) continue;
    const shared = /(\d+) bytes smem/.exec(used)?.[1] ?? '0';
    const registers = /(\d+) registers/.exec(used)?.[1] ?? '?';
    const uses = `${registers.padStart(3)} registers  ${shared.padStart(5)} B shared  ${about.stack}`;
    const text = `${about.arch}  ${about.name.padEnd(34)}  ${uses}`.trimEnd();
    found.push({ text, spills: about.stack !== '' });
  }
  return found.sort((a, b) => (a.text < b.text ? -1 : 1));
}

/** `_ZN6quamba12linearKernelILi1ELi1ELi2EEE…` → `linearKernel<1,1,2>`; a kernel made of a lambda is named by the op it is in. */
function readable(mangled) {
  const names = [];
  for (let rest = mangled.replace(/^_ZN/, ''); ; ) {
    const [digits] = /^\d+/.exec(rest) ?? [];
    if (!digits) {
      const sizes = [...(/^I((?:Li\d+E)+)E/.exec(rest)?.[1].matchAll(/\d+/g) ?? [])].join(',');
      const [, length, after] = /ZNS_(\d+)(\w+)/.exec(rest) ?? [];
      const owner = length ? `: ${after.slice(0, Number(length))}` : '';
      return `${names.at(-1)}${sizes && `<${sizes}>`}${owner}`;
    }
    names.push(rest.slice(digits.length, digits.length + Number(digits)));
    rest = rest.slice(digits.length + Number(digits));
  }
}

/** @returns {never} */
function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
