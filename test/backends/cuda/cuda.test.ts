/**
 * What of the CUDA backend needs neither GPU nor compiler: that the header and this side say the same, the loader's reasons, and
 * ops one by one. Whole plans: cuda-plan.test.ts. The library: cuda-library.test.ts. On a GPU: scripts/test-cuda.mjs.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  ABI,
  DECODES,
  DTYPES,
  LOGITS,
  MAX_RANK,
  PRECISIONS,
  STATUS,
} from '../../../src/backends/cuda/abi.ts';
import type { NativeTensor } from '../../../src/backends/cuda/functions.ts';
import { backendOf } from '../../../src/backends/cuda/index.ts';
import { loadLibrary } from '../../../src/backends/cuda/library.ts';
import { type AnyOp, bind } from '../../../src/op.ts';
import { ops } from '../../../src/ops/index.ts';
import { tensor } from '../../../src/tensor.ts';
import {
  boundFunctions,
  type Call,
  declaredFunctions,
  fakeKoffi,
  fakeLibrary,
  here,
  signatures,
} from './fake.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const header = join(root, 'cuda/include/quamba.h');

describe('the header and this side', () => {
  const text = readFileSync(header, 'utf8');
  /** `QUAMBA_NO_DRIVER = 1` → [NO_DRIVER, 1], of one enum. */
  const members = (name: string) => {
    const [, body] = new RegExp(`typedef enum ${name} \\{([^}]*)\\}`).exec(text)!;
    return Object.fromEntries([...body.matchAll(/QUAMBA_(\w+) = (\d+)/g)].map(m => [m[1], Number(m[2])]));
  };
  const defined = (name: string) => Number(new RegExp(`#define ${name} (\\d+)`).exec(text)![1]);

  it('have the same ABI, rank and numbers for names', () => {
    expect(defined('QUAMBA_ABI')).toBe(ABI);
    expect(defined('QUAMBA_MAX_RANK')).toBe(MAX_RANK);
    expect(members('quamba_status')).toEqual(STATUS);
    const upper = (names: Readonly<Record<string, number>>, prefix = '') =>
      Object.fromEntries(Object.entries(names).map(([name, n]) => [prefix + name.toUpperCase(), n]));
    expect(members('quamba_dtype')).toEqual(upper(DTYPES));
    expect(members('quamba_precision')).toEqual(upper(PRECISIONS));
    expect(members('quamba_decode')).toEqual(upper(DECODES, 'DECODE_'));
    expect(members('quamba_logits')).toEqual(upper(LOGITS));
  });

  it('have the same structs, field by field', () => {
    const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    const declared = [...text.matchAll(/^typedef struct quamba_\w+ \{\n([^}]*)\}/gm)].map(([, body]) =>
      [...body.matchAll(/^ {2}([\w ]+?) ?(\*?)(\w+)(?:\[(\w+)\])?;/gm)].map(([, type, star, name, size]) => [
        camel(name),
        `${type}${star && ` ${star}`}${size ? `[${size}]` : ''}`,
      ]),
    );
    const bound: unknown[] = [];
    const koffi = fakeKoffi()() as object;
    const struct = (fields: Readonly<Record<string, string>>) => bound.push(Object.entries(fields));
    const array = (type: string, length: number) =>
      `${type}[${length === MAX_RANK ? 'QUAMBA_MAX_RANK' : length}]`;
    loadLibrary(here, () => ({ ...koffi, struct, array }));
    const sorted = (structs: readonly unknown[]) => structs.map(fields => JSON.stringify(fields)).sort();
    expect(sorted(bound)).toEqual(sorted(declared));
  });

  it('agree on the functions: this side asks for those of the header', () => {
    const bound = boundFunctions();
    expect(bound.length).toBeGreaterThan(15);
    expect([...bound, 'quamba_error_index'].sort()).toEqual(declaredFunctions);
  });

  it('every op of src/ops is listed in cuda/ops.cu under the same signature', () => {
    const source = readFileSync(join(root, 'cuda/ops.cu'), 'utf8').replace(/"\s*\n\s*"/g, '');
    expect([...source.matchAll(/"([\w-]+\(.*\) -> .*)"/g)].map(m => m[1])).toEqual([...signatures].sort());
  });
});

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
  it('has the ops whose signature the library has', () => {
    const all = backendOf(fakeLibrary());
    for (const op of Object.values(ops)) expect(all.kernelOf(op as AnyOp), op.name).toBeTypeOf('function');
    const other = backendOf(
      fakeLibrary({ quamba_op_signature: (i: number) => ['add(x f32[l]) -> sum f32[l]'][i] ?? null }),
    );
    expect(other.kernelOf(ops.add as AnyOp)).toBeUndefined();
  });

  it('keeps states as f32', () => {
    const { kernelOf } = backendOf(fakeLibrary());
    const scan = ops.selectiveScan as AnyOp;
    expect(kernelOf(scan, { h: { dtype: 'f32' } })).toBeTypeOf('function');
    expect(kernelOf(scan, { h: { dtype: 'f16' } })).toBeUndefined();
    expect(kernelOf(scan, { h: { dtype: 'i8', scale: new Float32Array(1) } })).toBeUndefined();
  });

  it('hands states over as inputs and takes them back as outputs, by the same name', () => {
    const calls: Call[] = [];
    const given = { x: Float32Array.of(1, 2), w: Float32Array.of(1, 10), past: Float32Array.of(5) };
    const shapes = { x: [2, 1], w: [1, 2], past: [1, 1] };
    const tensors = Object.entries(given).map(([key, data]) => [key, tensor(data, shapes[key as 'x'])]);
    const call = bind(ops.causalConv1d as AnyOp, Object.fromEntries(tensors), { activation: 'none' });
    const kernel = backendOf(fakeLibrary({}, calls)).kernelOf(ops.causalConv1d as AnyOp)!;
    calls.length = 0;
    kernel(call.inputs, call.attrs, call.outputs, call.dims, call.states);
    const names = (list: unknown) => (list as NativeTensor[]).map(({ name }) => name);
    const [[, , inputs, , , , outputs]] = calls;
    expect([names(inputs), names(outputs)]).toEqual([
      ['x', 'w', 'past'],
      ['y', 'past'],
    ]);
    expect([...call.outputs.y.data]).toEqual([15, 21]);
    expect([...call.states.past.data]).toEqual([2]);
  });

  it('hands over a state that grows with fewer rows before than after', () => {
    const calls: Call[] = [];
    const one = (rows: number) => tensor(new Float32Array(4 * rows).fill(rows), [rows, 1, 4]);
    const row = new Float32Array(4).fill(9);
    const call = bind(ops.attention as AnyOp, { q: row, k: row, v: row, K: one(2), V: one(2) });
    const kernel = backendOf(fakeLibrary({}, calls)).kernelOf(ops.attention as AnyOp)!;
    calls.length = 0;
    kernel(call.inputs, call.attrs, call.outputs, call.dims, call.states);
    const [[, , inputs, , , , outputs]] = calls as [[string, string, NativeTensor[], ...unknown[]]];
    const rowsOf = (list: unknown) =>
      (list as NativeTensor[]).flatMap(({ name, shape }) => (name === 'K' || name === 'V' ? [shape[0]] : []));
    expect([rowsOf(inputs), rowsOf(outputs)]).toEqual([
      [2, 2],
      [3, 3],
    ]);
    expect([...call.states.K.data]).toEqual([...one(2).data, ...row]);
  });

  it('hands over names, dtypes, shapes, attributes and the memory itself', () => {
    const calls: unknown[][] = [];
    const backend = backendOf(
      fakeLibrary({
        quamba_op: (...given: unknown[]) => {
          calls.push(given);
          ((given[5] as NativeTensor[])[0].data as Float32Array).fill(5);
          return STATUS.OK;
        },
      }),
    );
    const x = Float32Array.of(1, 2, 3);
    const call = bind(ops.rmsNorm, { x }, { eps: 1e-6 });
    backend.kernelOf(ops.rmsNorm as AnyOp)!(call.inputs, call.attrs, call.outputs, call.dims, {});
    const native = (name: string, data: Float32Array) => ({
      name,
      dtype: 0,
      rank: 2,
      shape: [1, 3, 0, 0],
      data,
    });
    const eps = { name: 'eps', number: 1e-6, text: null };
    expect(calls).toEqual([
      ['rms-norm', [native('x', x)], 1, [eps], 1, [native('y', Float32Array.of(5, 5, 5))], 1],
    ]);
    expect([...call.outputs.y.data]).toEqual([5, 5, 5]);
  });

  it('throws what the reference throws for a bad value, else an error of its own', () => {
    const failing = (status: number) => () => {
      const { inputs, attrs, outputs, dims } = bind(ops.add, {
        x: new Float32Array(1),
        y: new Float32Array(1),
      });
      backendOf(fakeLibrary({ quamba_op: () => status })).kernelOf(ops.add as AnyOp)!(
        inputs,
        attrs,
        outputs,
        dims,
        {},
      );
    };
    expect(failing(STATUS.BAD_VALUE)).toThrow(new RangeError('what was wrong'));
    expect(failing(STATUS.OUT_OF_MEMORY)).toThrow(new Error('backend cuda: what was wrong'));
  });
});
