/** What `defineOp` promises of every op: how it is called, what it refuses, what it leaves alone. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { freshCall, invoke } from '../src/conformance/judge/judge.ts';
import { type AnyOp, type Attrs, bind } from '../src/op.ts';
import { ops } from '../src/ops/index.ts';
import { extent, parse } from '../src/signature.ts';
import type { Kept } from '../src/state.ts';
import { type Data, sizeOf, type Tensor, tensor } from '../src/tensor.ts';
import { random, sameBits } from './toy.ts';

const all: readonly AnyOp[] = Object.values(ops);
type Inputs = Record<string, Tensor>;
interface Case {
  readonly text: string;
  readonly dims: Readonly<Record<string, number>>;
  readonly inputs: Inputs;
  readonly attrs: Attrs;
}

const product = (axes: Readonly<Record<string, readonly unknown[]>>): Record<string, never>[] =>
  Object.entries(axes).reduce<Record<string, never>[]>(
    (rows, [name, values]) => rows.flatMap(row => values.map(value => ({ ...row, [name]: value }) as never)),
    [{}],
  );

const lettersOf = (signature: string) => parse(signature).axes.flatMap(axis => axis.letters);

/**
 * The cases of an op: its `sweep`, with and without its optional inputs. A letter that the sweep does not name is 1, or
 * as large as one that it names, where the constraints allow that: so a scale is tried for all rows and for each.
 */
function* casesOf(op: AnyOp): Generator<Case> {
  const next = random(7);
  const letters = new Set(Object.values<string>(op.inputs).flatMap(lettersOf));
  for (const swept of product(op.sweep)) {
    const attrs = Object.fromEntries(Object.entries(swept).filter(([name]) => name in op.attrs));
    const free = [...letters].filter(letter => !(letter in swept));
    const sizes = [
      ...new Set([1, ...Object.entries(swept).flatMap(([k, v]) => (letters.has(k) ? [v] : []))]),
    ];
    for (const more of product(Object.fromEntries(free.map(letter => [letter, sizes])))) {
      const dims = { ...swept, ...more };
      const holds = Object.values(op.constraints).every(([, test]) =>
        test({ ...op.attrs, ...dims } as never),
      );
      if (!holds) continue;
      const optional = Object.keys(op.inputs).filter(key => op.inputs[key].endsWith('?'));
      for (const absent of optional.length ? [[], optional] : [[]]) {
        const keys = Object.keys(op.inputs).filter(key => !absent.includes(key));
        const inputs = Object.fromEntries(keys.map(key => [key, filled(op.inputs[key], dims, next)]));
        yield { text: `${op.name} ${JSON.stringify(dims)} without ${absent}`, dims, inputs, attrs };
      }
    }
  }
}

function filled(signature: string, dims: Readonly<Record<string, number>>, next: () => number): Tensor {
  const { dtype, axes } = parse(signature);
  const shape = axes.map(axis => extent(axis, dims)!);
  const size = { length: sizeOf(shape) };
  if (dtype === 'f32')
    return tensor(
      Float32Array.from(size, () => next() * 2 - 1),
      shape,
    );
  if (dtype === 'i8')
    return tensor(
      Int8Array.from(size, () => Math.floor(next() * 256) - 128),
      shape,
    );
  return tensor(
    Int32Array.from(size, () => Math.floor(next() * dims.v)),
    shape,
  ); // tokens
}

describe.each(all.map(op => [op.name, op] as const))('%s', (_, op) => {
  it('runs at every size of its sweep, writes all of its outputs and none of its inputs', () => {
    let cases = 0;
    for (const { text, inputs, attrs } of casesOf(op)) {
      cases++;
      const call = bind(op, inputs, attrs);
      const before = Object.values(inputs).map(({ data }) => data.slice());
      const [zeros, dirty] = [0, 127].map(fill => {
        const outputs = Object.fromEntries(
          Object.entries(call.outputs).map(([key, t]) => {
            const data = t.data.slice();
            return [key, { ...t, data: data.fill(fill && t.dtype === 'f32' ? Number.NaN : fill) }];
          }),
        );
        const own = { ...freshCall(call), outputs };
        invoke(op.reference, own);
        return outputs;
      });
      for (const key in zeros)
        if (!sameBits(zeros[key].data as Data, dirty[key].data as Data))
          expect.fail(`${text}: ${key} is not written everywhere`);
      Object.values(inputs).forEach(({ data }, i) => {
        if (!sameBits(data, before[i])) expect.fail(`${text}: ${Object.keys(inputs)[i]} was changed`);
      });
    }
    expect(cases).toBeGreaterThan(1);
  });

  it('takes a plain typed array where the other inputs determine its shape', () => {
    const tried = new Set<string>();
    for (const { text, dims, inputs, attrs } of casesOf(op)) {
      if (Object.values(inputs).some(({ data }) => data.length > 4000)) continue; // the sizes add nothing here
      for (const key in inputs) {
        const elsewhere = Object.keys(inputs).flatMap(k => (k === key ? [] : lettersOf(op.inputs[k])));
        const unknown = lettersOf(op.inputs[key]).filter(letter => !elsewhere.includes(letter));
        if (unknown.slice(0, -1).some(letter => dims[letter] !== 1)) continue;
        const whole = op(inputs, attrs) as Inputs;
        const given = op({ ...inputs, [key]: inputs[key].data }, attrs) as Inputs;
        for (const out in whole) {
          if (String(given[out].shape) !== String(whole[out].shape))
            expect.fail(`${text}: shape with plain ${key}`);
          if (!sameBits(given[out].data, whole[out].data)) expect.fail(`${text}: values with plain ${key}`);
        }
        tried.add(key);
      }
    }
    expect([...tried].sort()).toEqual(Object.keys(op.inputs).sort());
  });

  it('refuses what its file says it refuses, by label', () => {
    const file = readFileSync(new URL(`../src/ops/${op.name}.ts`, import.meta.url), 'utf8');
    const errors = /^ \* Errors +(.*)$/m.exec(file)![1];
    const [, first, last] = /C(\d) … C(\d)/.exec(errors) ?? [];
    const range = first ? Array.from({ length: +last - +first + 1 }, (_, i) => `C${+first + i}`) : [];
    const labels = [...new Set([...range, ...(errors.match(/C\d/g) ?? [])])].sort();
    expect(labels).toEqual(expect.arrayContaining(Object.keys(op.constraints)));
    expect(Object.keys(refused[op.name] ?? {})).toEqual(labels);
    for (const [label, [call, message]] of Object.entries(refused[op.name] ?? {})) {
      expect(call).toThrow(new RangeError(`${op.name} ${label}: ${message}`));
    }
  });
});

const f32 = (...shape: number[]) => tensor(new Float32Array(sizeOf(shape)), shape);
const i8 = (...shape: number[]) => tensor(new Int8Array(sizeOf(shape)), shape);
const linearI8 = (s: number, p: number, g: number, i = 6) =>
  ops.linearI8({ x: i8(2, i), w: i8(3, i), xscale: f32(s), wscale: f32(p, g) });
const linearI4 = (s: number, h: number, g: number, i = 4) =>
  ops.linearI4({ x: i8(2, i), w: i8(1, h), xscale: f32(s), wscale: f32(1, g) });
const ssdScan = (attrs: { g?: number; lo?: number; hi?: number }, bc = 8) =>
  ops.ssdScan({ dt: f32(1, 3), x: f32(1, 6), A: f32(3, 1), B: f32(1, bc), C: f32(1, bc) }, attrs);
const attention = (h: number, g: number, p: number) =>
  ops.attention({ q: f32(1, h * p), k: f32(1, g * p), v: f32(1, g * p) }, { h, g });
const oneForEachRow = 'scale must have one value or one for each row';

/** A call that breaks each constraint, and only it, and what it is told. */
const refused: Readonly<
  Record<string, Readonly<Record<string, readonly [call: () => unknown, message: string]>>>
> = {
  attention: {
    C1: [() => attention(4, 3, 4), 'the key heads g must divide the query heads h; got g=3, h=4'],
    C2: [() => attention(4, 2, 6), 'p must be a multiple of 4; got p=6'],
  },
  rope: {
    C1: [
      () => ops.rope({ x: f32(1, 8), cos: f32(1, 3), sin: f32(1, 3) }, { h: 2 }),
      '2r must be at most p; got r=3, p=4',
    ],
  },
  'causal-conv1d': {
    C1: [
      () => ops.causalConv1d({ x: f32(1, 2), w: f32(2, 4) }, { activation: 'gelu' }),
      "activation must be 'silu' or 'none'; got activation=gelu",
    ],
  },
  dequantize: {
    C1: [() => ops.dequantize({ q: i8(3, 2), scale: f32(2) }), `${oneForEachRow}; got s=2, l=3`],
  },
  'dequantize-i4': {
    C1: [
      () => ops.dequantizeI4({ q: i8(1, 3), scale: f32(1, 1) }, { n: 4 }),
      'a row of q must hold n halves of bytes; got h=3, n=4',
    ],
    C2: [
      () => ops.dequantizeI4({ q: i8(1, 2), scale: f32(1, 3) }, { n: 4 }),
      'the groups g must divide n; got g=3, n=4',
    ],
  },
  embedding: {
    C1: [
      () => ops.embedding({ tokens: Int32Array.of(1, 4, -1), w: f32(4, 2) }),
      'every token must lie in 0 … 3; got 4 at position 1',
    ],
  },
  'embedding-i8': {
    C1: [
      () => ops.embeddingI8({ tokens: Int32Array.of(-1), w: i8(4, 2), scale: f32(4) }),
      'every token must lie in 0 … 3; got -1 at position 0',
    ],
  },
  fwht: {
    C1: [
      () => ops.fwht({ x: f32(1, 6) }),
      'n must be K·2^k where Paley gives a Hadamard matrix of order K ≤ 1024 by a prime or the square of one (1, 12, 20, 28, 36, 44, 52, 60, …); got n=6',
    ],
  },
  'gated-rms-norm': {
    C1: [
      () => ops.gatedRmsNorm({ x: f32(1, 2), z: f32(1, 2) }, { eps: 0 }),
      'eps must be positive; got eps=0',
    ],
    C2: [
      () => ops.gatedRmsNorm({ x: f32(1, 4), z: f32(1, 4) }, { g: 3 }),
      'the groups g must divide the channels d; got g=3, d=4',
    ],
  },
  'linear-i4': {
    C1: [() => linearI4(3, 2, 1), 'xscale must have one value or one for each token; got s=3, l=2'],
    C2: [() => linearI4(1, 3, 1), 'a row of w must hold i halves of bytes; got h=3, i=4'],
    C3: [() => linearI4(1, 2, 3), 'the groups g must divide i; got g=3, i=4'],
    C4: [
      () => linearI4(1, 1048576, 1, 2097152),
      'i must be at most 2097151, so that the int32 sum cannot overflow; got i=2097152',
    ],
  },
  'linear-i8': {
    C1: [() => linearI8(3, 1, 1), 'xscale must have one value or one for each token; got s=3, l=2'],
    C2: [() => linearI8(1, 2, 1), 'wscale must have one row or one for each output; got p=2, o=3'],
    C3: [() => linearI8(1, 3, 4), 'the groups g must divide i; got g=4, i=6'],
    C4: [
      () => linearI8(1, 1, 2),
      'more than one group needs one row of scales for each output; got g=2, p=1, o=3',
    ],
    C5: [
      () => linearI8(1, 1, 1, 131072),
      'i must be at most 131071, so that the int32 sum cannot overflow; got i=131072',
    ],
  },
  quantize: {
    C1: [() => ops.quantize({ x: f32(3, 2), scale: f32(2) }), `${oneForEachRow}; got s=2, l=3`],
    C2: [
      () =>
        ops.quantize({ x: tensor(Float32Array.of(0, 0, 0, Number.NaN), [2, 2]), scale: Float32Array.of(1) }),
      'x must not hold NaN; got NaN at [1, 1]',
    ],
  },
  'rms-norm': { C1: [() => ops.rmsNorm({ x: f32(1, 2) }, { eps: 0 }), 'eps must be positive; got eps=0'] },
  slice: {
    C1: [
      () => ops.slice({ x: f32(1, 5) }, { start: 3, size: 3 }),
      'start + size must be at most n, start a whole number from 0 on, size at least 1; got start=3, size=3, n=5',
    ],
  },
  'ssd-scan': {
    C1: [() => ssdScan({ g: 2 }), 'the groups g must divide the heads h; got g=2, h=3'],
    C2: [() => ssdScan({}, 6), 'n must be a multiple of 4; got n=6'],
    C3: [() => ssdScan({ lo: 2, hi: 1 }), 'lo must be at least 0 and at most hi; got lo=2, hi=1'],
  },
};

describe('bind', () => {
  const x = f32(2, 65);
  const w = f32(256, 65);
  const scan = { u: f32(1, 2), dt: f32(1, 2), A: f32(2, 3), B: f32(1, 3), C: f32(1, 3) };
  const scanWith = (h: Kept) => ops.selectiveScan(scan, {}, { h });
  /* biome-ignore format: a table */
  const errors: readonly [what: string, call: () => unknown, type: ErrorConstructor, message: string][] = [
    ['a plain array', () => bind(ops.linear, { x: [1, 2] as never, w }), TypeError, 'linear: x expected f32[l, i] or a typed array; got an array'],
    ['null', () => bind(ops.linear, { x, w: null as never }), TypeError, 'linear: w expected f32[o, i] or a typed array; got null'],
    ['an unknown state', () => bind(ops.linear, { x, w }, {}, { h: { dtype: 'f16' } }), TypeError, "linear: no state 'h'; expected none"],
    ['a state in f64', () => scanWith({ dtype: 'f64' as never }), TypeError, 'selective-scan: state h can be kept as f32, f16, i8, i8-dynamic; got f64'],
    ['int8 without scales', () => scanWith({ dtype: 'i8' }), RangeError, 'selective-scan: state h as i8 needs a scale of 2 values, one for each row; got 0'],
    ['an unknown input', () => bind(ops.linear, { x, w, c: x }), TypeError, "linear: no input 'c'; expected x, w, b"],
    ['a missing input', () => bind(ops.linear, { x }), TypeError, 'linear: input w (f32[o, i]) is missing'],
    ['a dtype', () => bind(ops.linear, { x, w: i8(256, 65) }), TypeError, 'linear: w expected f32[o, i]; got i8[256, 65]'],
    ['a dtype of plain values', () => bind(ops.linear, { x, w: new Int8Array(65) }), TypeError, 'linear: w expected f32[o, i]; got i8 values'],
    ['an array of no dtype', () => bind(ops.linear, { x, w: new Float64Array(65) as never }), TypeError, 'tensor: expected a Float32Array, Int8Array or Int32Array; got Float64Array'],
    ['a rank', () => bind(ops.linear, { x: f32(65), w }), TypeError, 'linear: x expected f32[l, i]; got f32[65]'],
    ['a size', () => bind(ops.linear, { x, w: f32(256, 64) }), RangeError, 'linear: w expected f32[o, i] with i=65; got f32[256, 64]'],
    ['a size less one', () => bind(ops.causalConv1d, { x: f32(1, 2), w: f32(2, 4), past: f32(2, 4) }), RangeError, 'causal-conv1d: past expected f32[d, k-1] with k=4; got f32[2, 4]'],
    ['a size of plain values', () => bind(ops.linear, { x, w: new Float32Array(64) }), RangeError, 'linear: w expected f32[o, i] with i=65; got 64 values'],
    ['data that is not its shape', () => bind(ops.linear, { x: { ...x, shape: [3, 65] }, w }), RangeError, 'linear: x says f32[3, 65] but holds 130 values'],
    ['a constraint', () => bind(ops.fwht, { x: f32(1, 6) }), RangeError, 'fwht C1: n must be K·2^k where Paley gives a Hadamard matrix of order K ≤ 1024 by a prime or the square of one (1, 12, 20, 28, 36, 44, 52, 60, …); got n=6'],
    ['an unknown attribute', () => bind(ops.fwht, { x: f32(1, 2) }, { inverted: true }), TypeError, "fwht: no attribute 'inverted'; expected inverse"],
    ['an attribute where there is none', () => bind(ops.add, { x, y: x }, { alpha: 1 }), TypeError, "add: no attribute 'alpha'; expected none"],
    ["an attribute's type", () => bind(ops.fwht, { x: f32(1, 2) }, { inverse: 'yes' }), TypeError, 'fwht: attribute inverse expected a boolean; got "yes"'],
  ];
  it.each(errors)('names %s that is wrong', (_, call, type, message) => {
    expect(call).toThrow(new type(message));
  });

  it('takes a row for what nothing determines', () => {
    const { inputs } = bind(ops.selectiveScan, {
      u: Float32Array.of(1, 2),
      dt: Float32Array.of(1, 2),
      A: new Float32Array(6),
      B: new Float32Array(3),
      C: new Float32Array(3),
    });
    expect(Object.values(inputs).map(t => t.shape)).toEqual([
      [1, 2],
      [1, 2],
      [2, 3],
      [1, 3],
      [1, 3],
    ]);
  });

  it('takes an attribute that is undefined for its default, and an optional input that is undefined for none', () => {
    const { attrs, inputs } = bind(ops.linear, { x, w, b: undefined });
    expect([attrs, Object.keys(inputs)]).toEqual([{}, ['x', 'w']]);
    expect(bind(ops.fwht, { x: f32(1, 2) }, { inverse: undefined }).attrs).toEqual({ inverse: false });
  });
});
