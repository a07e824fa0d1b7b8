/**
 * What of the CUDA backend needs no GPU: the loader's reasons, that the header, the library and this side say the same, and
 * that the library compiles. What needs one: scripts/test-cuda.mjs.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ABI, DTYPES, FUNCTIONS, MAX_RANK, STATUS, signatureOf } from '../src/backends/cuda/abi.ts';
import { backendOf } from '../src/backends/cuda/index.ts';
import { type Library, loadLibrary, type NativeTensor } from '../src/backends/cuda/library.ts';
import { type AnyOp, bind } from '../src/op.ts';
import { ops } from '../src/ops/index.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const header = join(root, 'cuda/include/quamba.h');
const here = fileURLToPath(import.meta.url);
const signatures = Object.values(ops).map(op => signatureOf(op as AnyOp));

describe('the header and this side', () => {
  const text = readFileSync(header, 'utf8');
  /** `QUAMBA_NO_DRIVER = 1` → [NO_DRIVER, 1], of one enum. */
  const members = (name: string) => {
    const [, body] = new RegExp(`typedef enum ${name} \\{([^}]*)\\}`).exec(text)!;
    return Object.fromEntries([...body.matchAll(/QUAMBA_(\w+) = (\d+)/g)].map(m => [m[1], Number(m[2])]));
  };
  const defined = (name: string) => Number(new RegExp(`#define ${name} (\\d+)`).exec(text)![1]);

  it('have the same ABI, statuses, dtypes and rank', () => {
    expect(defined('QUAMBA_ABI')).toBe(ABI);
    expect(defined('QUAMBA_MAX_RANK')).toBe(MAX_RANK);
    expect(members('quamba_status')).toEqual(STATUS);
    const dtypes = Object.entries(DTYPES).map(([name, value]) => [name.toUpperCase(), value]);
    expect(members('quamba_dtype')).toEqual(Object.fromEntries(dtypes));
  });

  it('have the same functions', () => {
    expect([...text.matchAll(/^QUAMBA_API .*?(quamba_\w+)\(/gm)].map(m => m[1]).sort()).toEqual(
      [...FUNCTIONS].sort(),
    );
  });

  it('every op of src/ops is listed in cuda/ops.cu under the same signature', () => {
    const source = readFileSync(join(root, 'cuda/ops.cu'), 'utf8').replace(/"\s*\n\s*"/g, '');
    expect([...source.matchAll(/"([\w-]+\(.*\) -> .*)"/g)].map(m => m[1])).toEqual([...signatures].sort());
  });
});

/** A koffi whose library answers what it is told to, and notes what it is called with. */
function fakeKoffi(answers: Readonly<Record<string, (...given: never[]) => unknown>>) {
  const list: Readonly<Record<string, (...given: never[]) => unknown>> = {
    quamba_abi: () => ABI,
    quamba_built_for: () => 'sm_87',
    quamba_error: () => 'what was wrong',
    quamba_device: () => STATUS.OK,
    quamba_op_signature: (i: number) => signatures[i] ?? null,
    quamba_op: () => STATUS.OK,
    ...answers,
  };
  const type = () => ({});
  const load = () => ({ func: (name: string) => list[name] });
  return () => ({ load, struct: type, array: type, pointer: type, out: type });
}

describe('the loader', () => {
  const why = (path: string, koffi?: () => unknown): string => {
    const found = loadLibrary(path, koffi);
    return 'why' in found ? found.why : 'no reason';
  };
  const throwing = (error: Error) => () => {
    throw error;
  };

  it('says what is missing, in one sentence', () => {
    expect(why(join(root, 'no/such.so'))).toMatch(
      /^there is no .*such\.so: npm run build:cuda .*QUAMBA_CUDA_LIB/,
    );
    const missing = Object.assign(new Error('Cannot find module'), { code: 'MODULE_NOT_FOUND' });
    expect(why(here, throwing(missing))).toBe('koffi is not installed: npm install koffi');
    expect(why(here, throwing(new Error('no binary\nfor this machine')))).toBe(
      'koffi cannot be loaded: no binary',
    );
    const refused = () => ({ load: throwing(new Error('invalid ELF header')) });
    expect(why(here, refused)).toBe(`${here} cannot be used: invalid ELF header`);
    expect(why(here, fakeKoffi({ quamba_abi: () => ABI + 1 }))).toBe(
      `${here} has ABI ${ABI + 1}; this version of quamba needs ABI ${ABI}`,
    );
  });

  it("passes on the library's own reason", () => {
    const text = 'built for sm_87, the device is sm_90';
    const koffi = fakeKoffi({ quamba_device: () => STATUS.WRONG_DEVICE, quamba_error: () => text });
    expect(why(here, koffi)).toBe(text);
  });

  it('is told of a library by QUAMBA_CUDA_LIB', () => {
    const before = process.env.QUAMBA_CUDA_LIB;
    process.env.QUAMBA_CUDA_LIB = join(root, 'named.so');
    try {
      const found = loadLibrary();
      expect('why' in found && found.why).toContain('named.so');
    } finally {
      if (before === undefined) delete process.env.QUAMBA_CUDA_LIB;
      else process.env.QUAMBA_CUDA_LIB = before;
    }
  });
});

describe('the backend', () => {
  const library = (answers: Parameters<typeof fakeKoffi>[0]): Library => {
    const found = loadLibrary(here, fakeKoffi(answers));
    if ('why' in found) throw new Error(found.why);
    return found.library;
  };

  it('has the ops whose signature the library has', () => {
    const all = backendOf(library({}));
    for (const op of Object.values(ops)) expect(all.kernelOf(op as AnyOp), op.name).toBeTypeOf('function');
    const other = backendOf(
      library({ quamba_op_signature: (i: number) => ['add(x f32[l]) -> sum f32[l]'][i] ?? null }),
    );
    expect(other.kernelOf(ops.add as AnyOp)).toBeUndefined();
  });

  it('hands over names, dtypes, shapes, attributes and the memory itself', () => {
    const calls: unknown[][] = [];
    const backend = backendOf(
      library({
        quamba_op: (...given: unknown[]) => {
          calls.push(given);
          ((given[5] as NativeTensor[])[0].data as Float32Array).fill(5);
          return STATUS.OK;
        },
      }),
    );
    const x = Float32Array.of(1, 2, 3);
    const call = bind(ops.rmsNorm, { x }, { eps: 1e-6 });
    backend.kernelOf(ops.rmsNorm as AnyOp)!(call.inputs, call.attrs, call.outputs, call.dims);
    const tensor = (name: string, data: Float32Array) => ({
      name,
      dtype: 0,
      rank: 2,
      shape: [1, 3, 0, 0],
      data,
    });
    const eps = { name: 'eps', number: 1e-6, text: null };
    expect(calls).toEqual([
      ['rms-norm', [tensor('x', x)], 1, [eps], 1, [tensor('y', Float32Array.of(5, 5, 5))], 1],
    ]);
    expect([...call.outputs.y.data]).toEqual([5, 5, 5]);
  });

  it('throws what the reference throws for a bad value, else an error of its own', () => {
    const failing = (status: number) => () => {
      const { inputs, attrs, outputs, dims } = bind(ops.add, {
        x: new Float32Array(1),
        y: new Float32Array(1),
      });
      backendOf(library({ quamba_op: () => status })).kernelOf(ops.add as AnyOp)!(
        inputs,
        attrs,
        outputs,
        dims,
      );
    };
    expect(failing(STATUS.BAD_VALUE)).toThrow(new RangeError('what was wrong'));
    expect(failing(STATUS.OUT_OF_MEMORY)).toThrow(new Error('backend cuda: what was wrong'));
  });
});

const runs = (command: string): boolean => {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
const compiler = runs('nvcc');

describe.skipIf(!compiler)(`the library${compiler ? '' : ': skipped, nvcc is not on the PATH'}`, () => {
  let folder: string;
  let library: string;
  let report: string;
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: 'utf8', cwd: root });

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'quamba-cuda-'));
    library = join(folder, 'libquamba_cuda.so');
    report = run(process.execPath, 'scripts/build-cuda.mjs', '--out', library);
  }, 300_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('compiles for every architecture, each kernel without spills, in little shared memory', () => {
    const kernels = readdirSync(join(root, 'cuda'))
      .filter(name => /\.cuh?$/.test(name))
      .flatMap(name => readFileSync(join(root, 'cuda', name), 'utf8').match(/\w+(?=\([^)]*\) \{$)/gm) ?? [])
      .filter(name => /^(?:\w+Kernel|linearI8(?:Rows|Tiles))$/.test(name));
    expect(kernels.length).toBeGreaterThan(5);
    for (const arch of ['sm_80', 'sm_87', 'sm_89', 'sm_90']) {
      const rows = report.split('\n').filter(line => line.startsWith(arch));
      for (const kernel of kernels) expect(rows.join('\n'), `${arch} ${kernel}`).toContain(kernel);
      for (const row of rows) {
        expect(Number(/(\d+) registers/.exec(row)![1]), row).toBeLessThanOrEqual(168);
        expect(Number(/(\d+) B shared/.exec(row)![1]), row).toBeLessThanOrEqual(48 * 1024);
        expect(row).not.toContain('spill');
      }
    }
  });

  it('exports the functions of the header and nothing else', () => {
    const exported = run('nm', '-D', '--defined-only', library).trim().split('\n');
    expect(exported.map(line => line.split(' ').at(-1)).sort()).toEqual([...FUNCTIONS].sort());
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
      `abi ${ABI}, built for sm_80 sm_87 sm_89 sm_90, ${signatures.length} ops`,
      "4: no op 'nonsense'",
      '5: linear: w expected f32[o, i] with i=2; got f32[1, 3]',
      '5: linear: input w (f32[o, i]) is missing',
      "5: linear: no input 'v'; expected x, w, b",
      "5: linear: no attribute 'eps'; expected none",
      '5: fwht C1: n must be m·2^k with m in {1, 12, 20, 28, 40}; got n=3',
      '6: embedding C1: every token must lie in 0 … 1; got 7 at position 1 (index 1)',
    ]);
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
  quamba_tensor in[2];
  while (quamba_op_signature(count)) count++;
  printf("abi %d, built for %s, %d ops\\n", (int)quamba_abi(), quamba_built_for(), (int)count);
  say(quamba_op("nonsense", NULL, 0, NULL, 0, NULL, 0));
  in[0] = x, in[1] = w;
  say(quamba_op("linear", in, 2, NULL, 0, &y, 1));
  say(quamba_op("linear", in, 1, NULL, 0, &y, 1));
  in[1] = v;
  say(quamba_op("linear", in, 2, NULL, 0, &y, 1));
  say(quamba_op("linear", in, 1, &eps, 1, &y, 1));
  say(quamba_op("fwht", &row, 1, NULL, 0, &y, 1));
  in[0] = t, in[1] = table;
  say(quamba_op("embedding", in, 2, NULL, 0, &rows, 1));
  return 0;
}
`;
