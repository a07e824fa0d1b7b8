/**
 * Where nvcc is: that the library compiles, without spills, exports what the header declares, checks a call before it looks for a
 * GPU, and that the examples run or say why not.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ABI } from '../../../src/backends/cuda/abi.ts';
import { examples } from './examples.ts';
import { declaredFunctions, signatures } from './fake.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const runs = (command: string): boolean => {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
const compiler = runs('nvcc');

/** Jetson Orin, the target. The build makes three more of the same sources, half a minute each. */
const ARCHITECTURES = [87];

const KERNEL = /__global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(/g;

describe.skipIf(!compiler)(`the library${compiler ? '' : ': skipped, nvcc is not on the PATH'}`, () => {
  let folder: string;
  let library: string;
  let report: string;
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: 'utf8', cwd: root });

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'quamba-cuda-'));
    library = join(folder, 'libquamba_cuda.so');
    report = run(
      process.execPath,
      'scripts/build-cuda.mjs',
      '--arch',
      ARCHITECTURES.join(),
      '--out',
      library,
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('compiles, each kernel without spills, in little shared memory', () => {
    const kernels = readdirSync(join(root, 'cuda'))
      .filter(name => /\.cuh?$/.test(name))
      .flatMap(name => [...readFileSync(join(root, 'cuda', name), 'utf8').matchAll(KERNEL)])
      .map(([, name]) => name);
    expect(kernels.length).toBeGreaterThan(15);
    for (const arch of ARCHITECTURES) {
      const rows = report.split('\n').filter(line => line.startsWith(`sm_${arch} `));
      const names = new Set(rows.map(row => /^sm_\d+ +(\w+)/.exec(row)![1]));
      expect(
        kernels.filter(name => !names.has(name)),
        `not for sm_${arch}`,
      ).toEqual([]);
      for (const row of rows) {
        expect(Number(/(\d+) B shared/.exec(row)![1]), row).toBeLessThanOrEqual(48 * 1024);
        expect(row).not.toContain('spill');
      }
    }
  });

  it('exports the functions of the header and nothing else', () => {
    const exported = run('nm', '-D', '--defined-only', library).trim().split('\n');
    expect(exported.map(line => line.split(' ').at(-1)).sort()).toEqual(declaredFunctions);
  });

  it('checks a call before it looks for a GPU, from C99', () => {
    const program = join(folder, 'call');
    writeFileSync(`${program}.c`, CALLS);
    const warnings = ['-std=c99', '-Wall', '-Wextra', '-pedantic', '-Werror'];
    run('cc', ...warnings, '-I', join(root, 'cuda/include'), `${program}.c`, library, '-o', program);
    const lines = execFileSync(program, {
      encoding: 'utf8',
      env: { ...process.env, LD_LIBRARY_PATH: folder },
    });
    expect(lines.trim().split('\n')).toEqual([
      `abi ${ABI}, built for ${ARCHITECTURES.map(arch => `sm_${arch}`).join(' ')}, ${signatures.length} ops`,
      "4: no op 'nonsense'",
      '5: linear: w expected f32[o, i] with i=2; got f32[1, 3]',
      '5: linear: input w (f32[o, i]) is missing',
      "5: linear: no input 'v'; expected x, w, b",
      "5: linear: no attribute 'eps'; expected none",
      "5: causal-conv1d: no input 'h'; expected x, w, b, past",
      '5: causal-conv1d: output past (f32[d, k-1]) is missing',
      '5: causal-conv1d: past expected f32[d, k-1] with k=3; got f32[2, 3]',
      '5: fwht C1: on CUDA n must be m·2^k with m in {1, 12, 20, 28, 40}; got n=3',
      '5: ssd-scan: x expected f32[l, h*p] with h=4; got f32[1, 6]',
      '5: ssd-scan: A expected f32[h, 1] with h=4; got f32[2, 2]',
      '5: slice: attribute size expected a whole number; got 1.5',
      '5: slice: y expected f32[l, size] with size=1; got f32[1, 3]',
      '6: embedding C1: every token must lie in 0 … 1; got 7 at position 1 (index 1)',
    ]);
  });

  it.each(examples)('%s runs, or says in one sentence that there is no GPU', async (_, example) => {
    const { code, stdout, stderr } = await example(library, folder);
    if (code === 0) expect(stdout).not.toBe('');
    else expect([code, stdout, stderr]).toEqual([1, '', expect.stringMatching(/^[^\n]+\n$/)]);
  });
});

const CALLS = `
#include <stdio.h>
#include "quamba.h"
static float data[8];
static int32_t tokens[2] = {1, 7};
static void say(quamba_status status) {
  printf("%d: %s", (int)status, quamba_error());
  if (status == QUAMBA_BAD_VALUE) printf(" (index %d)", (int)quamba_error_index());
  printf("\\n");
}
int main(void) {
  int32_t count = 0;
  const quamba_tensor x = {"x", QUAMBA_F32, 2, {1, 2}, data}, row = {"x", QUAMBA_F32, 2, {1, 3}, data};
  const quamba_tensor w = {"w", QUAMBA_F32, 2, {1, 3}, data}, table = {"w", QUAMBA_F32, 2, {2, 2}, data};
  const quamba_tensor v = {"v", QUAMBA_F32, 2, {1, 3}, data}, t = {"tokens", QUAMBA_I32, 1, {2}, tokens};
  const quamba_tensor y = {"y", QUAMBA_F32, 2, {1, 3}, data}, rows = {"y", QUAMBA_F32, 2, {2, 2}, data};
  const quamba_attribute eps = {"eps", 1, NULL};
  const quamba_tensor taps = {"w", QUAMBA_F32, 2, {2, 3}, data}, h = {"h", QUAMBA_F32, 2, {2, 2}, data};
  const quamba_tensor past = {"past", QUAMBA_F32, 2, {2, 3}, data}, y2 = {"y", QUAMBA_F32, 2, {1, 2}, data};
  const quamba_tensor dt = {"dt", QUAMBA_F32, 2, {1, 4}, data}, heads = {"x", QUAMBA_F32, 2, {1, 6}, data};
  const quamba_tensor channels = {"x", QUAMBA_F32, 2, {1, 8}, data}, rates = {"A", QUAMBA_F32, 2, {2, 2}, data};
  const quamba_attribute size = {"size", 1.5, NULL};
  quamba_tensor in[3];
  while (quamba_op_signature(count)) count++;
  printf("abi %d, built for %s, %d ops\\n", (int)quamba_abi(), quamba_built_for(), (int)count);
  say(quamba_op("nonsense", NULL, 0, NULL, 0, NULL, 0));
  in[0] = x, in[1] = w;
  say(quamba_op("linear", in, 2, NULL, 0, &y, 1));
  say(quamba_op("linear", in, 1, NULL, 0, &y, 1));
  in[1] = v;
  say(quamba_op("linear", in, 2, NULL, 0, &y, 1));
  say(quamba_op("linear", in, 1, &eps, 1, &y, 1));
  in[0] = x, in[1] = taps, in[2] = h;
  say(quamba_op("causal-conv1d", in, 3, NULL, 0, &y2, 1));
  say(quamba_op("causal-conv1d", in, 2, NULL, 0, &y2, 1));
  in[2] = past;
  say(quamba_op("causal-conv1d", in, 3, NULL, 0, &y2, 1));
  say(quamba_op("fwht", &row, 1, NULL, 0, &y, 1));
  in[0] = dt, in[1] = heads;
  say(quamba_op("ssd-scan", in, 2, NULL, 0, &y, 1));
  in[1] = channels, in[2] = rates;
  say(quamba_op("ssd-scan", in, 3, NULL, 0, &y, 1));
  say(quamba_op("slice", &row, 1, &size, 1, &y, 1));
  say(quamba_op("slice", &row, 1, NULL, 0, &y, 1));
  in[0] = t, in[1] = table;
  say(quamba_op("embedding", in, 2, NULL, 0, &rows, 1));
  return 0;
}
`;
