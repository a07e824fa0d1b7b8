/**
 * How far a tolerant backend may be off from the reference, derived from the work that an op does.
 *
 * A sum of i products costs at most (i + …) u Σ|x w| in any order, and the reference has an order of its own, hence the
 * factor 2 in many of these. Copies and integers are exact, and so is what rounds once: products and sums are correctly
 * rounded on any machine. docs/bounds.md derives each; doubt.ts has u, τ and the bound of the mean.
 */
import { type AnyOp, type BoundCall, givenOf } from '../../op.ts';
import { factor } from '../../ops/hadamard.ts';
import { unpacked } from '../../ops/nibbles.ts';
import type { Data, Tensor } from '../../tensor.ts';
import type { Tolerance } from '../cases/case.ts';
import { scanBounds } from './bounds-scan.ts';
import {
  alike,
  allOf,
  type Doubt,
  exactly,
  flushed,
  magnitude,
  roundings,
  sigmoid,
  siluDoubt,
  siluSlope,
  sum,
  times,
  tolerance,
  U,
} from './doubt.ts';

export type Bounds = (
  inputs: Readonly<Record<string, Data>>,
  call: BoundCall,
  expected: Readonly<Record<string, Tensor>>,
) => Readonly<Record<string, Tolerance>>;

/** How far each output of a call may be off. `expected` is what the reference gives for it. */
export function tolerances(
  op: AnyOp,
  call: BoundCall,
  expected: Readonly<Record<string, Tensor>>,
): Readonly<Record<string, Tolerance>> {
  const inputs = Object.fromEntries(Object.entries(givenOf(call)).map(([key, { data }]) => [key, data]));
  return BOUNDS[op.name](inputs, call, expected);
}

/**
 * Codes behind work that is not exact (a fused op, a plan): a value next to a rounding midpoint may fall to either side, so
 * that a code is one step off. That is rare, since the error of the work is a small part of a step.
 */
export const requantized = (expected: Tensor): Tolerance => ({
  formula: `one step on at most ${100 * SHARE} % of the codes`,
  bounds: new Float64Array(expected.data.length).fill(1),
  bias: SHARE,
  share: SHARE,
});
const SHARE = 0.01;

const copy = (expected: Tensor): Tolerance =>
  tolerance('a copy, τ where it is flushed', expected, () => flushed(1));

/** One product or sum; what is flushed of its inputs may be multiplied by as much as `factor`. */
const roundsOnce =
  (output: string, factor: (inputs: Readonly<Record<string, Data>>) => number): Bounds =>
  (inputs, _, expected) => {
    const lost = flushed(1 + factor(inputs));
    return {
      [output]: tolerance('one correct rounding, τ where it is flushed', expected[output], () => lost),
    };
  };
const absmax = (data: Data): number => {
  let most = 0;
  for (const x of data) most = Math.max(most, Math.abs(x));
  return most;
};

const BOUNDS: Readonly<Record<string, Bounds>> = {
  add: roundsOnce('sum', () => 1),
  embedding: (_, __, { y }) => ({ y: copy(y) }),
  slice: (_, __, { y }) => ({ y: copy(y) }),
  dequantize: roundsOnce('x', ({ q }) => absmax(q)),
  'dequantize-i4': roundsOnce('x', () => 8),
  'embedding-i8': roundsOnce('y', ({ w }) => absmax(w)),

  quantize: (_, __, { q }) => ({
    q: exactly('exact: x and scale are given, and x / scale rounds correctly', q),
  }),

  'absmax-scale': (_, __, { scale }) => ({
    scale: tolerance('6 u |scale|: a division of 3 ulp', scale, i => roundings(6, magnitude(scale.data[i]))),
  }),

  'scale-channels': (inputs, call, expected) => {
    if (!call.attrs.inverse)
      return roundsOnce('y', ({ x, c }) => Math.max(absmax(x), absmax(c)))(inputs, call, expected);
    const { y } = expected;
    const { c } = inputs;
    return {
      y: tolerance('6 u |y| + (1 + 1/|c|) τ: a division of 3 ulp', y, i =>
        sum(roundings(6, magnitude(y.data[i])), flushed(1 + 1 / Math.abs(c[i % call.dims.n]))),
      ),
    };
  },

  linear: ({ x, w, b }, { dims: { i, o } }, { y }) => ({
    y: tolerance('2 (i + 1) u (Σ|x w| + |b|) + i τ', y, at => {
      const row = at % o;
      const t = (at - row) / o;
      let size = Math.abs(b?.[row] ?? 0);
      for (let k = 0; k < i; k++) size += Math.abs(x[t * i + k] * w[row * i + k]);
      return sum(roundings(2 * (i + 1), size), flushed(i));
    }),
  }),

  'linear-i8': ({ x, xscale, w, wscale, b }, { dims: { i, o, s, p, g } }, { y }) => ({
    y: tolerance('2 (g + 3) u (Σ|s_x s_w Σ x w| + |b|) + Σ|Σ x w| τ', y, at => {
      const row = at % o;
      const t = (at - row) / o;
      let size = Math.abs(b?.[row] ?? 0);
      let steps = 0;
      for (let group = 0, k = 0; group < g; group++) {
        let acc = 0;
        for (const end = ((group + 1) * i) / g; k < end; k++) acc += x[t * i + k] * w[row * i + k];
        size += Math.abs(acc * xscale[s === 1 ? 0 : t] * wscale[(p === 1 ? 0 : row) * g + group]);
        steps += Math.abs(acc);
      }
      return sum(roundings(2 * g + 4, size), alike(2, size), flushed(1 + steps));
    }),
  }),

  'linear-i4': ({ w, ...inputs }, { dims: { i, o, h, ...dims }, ...call }, outputs) =>
    BOUNDS['linear-i8'](
      { ...inputs, w: unpacked({ dtype: 'i8', shape: [o, h], data: w as Int8Array }, i).data },
      { ...call, dims: { ...dims, i, o, p: o } },
      outputs,
    ),

  'rms-norm': ({ x, w }, { dims: { l, m }, attrs: { eps } }, { y }) => {
    const squares = Array.from({ length: l }, (_, t) => {
      let sum = 0;
      for (let j = 0; j < m; j++) sum += x[t * m + j] ** 2;
      return sum;
    });
    const formula = '(m + 12) u |y| + τ: half of the sum of m squares, √, ÷, two products, on either side';
    return {
      y: tolerance(formula, y, i => {
        const square = squares[Math.floor(i / m)];
        const mean = square / m + Math.fround(eps as number);
        const size = Math.abs((x[i] * (w?.[i % m] ?? 1)) / Math.sqrt(mean));
        // The sum may overflow in f32, and y be 0; in more than f32 it need not.
        if (square >= 2 ** 127) return allOf((1 + U * m) * size);
        return sum(alike(m + 8, size), roundings(4, size), flushed(1 + size / mean));
      }),
    };
  },

  fwht: ({ x }, { dims: { n } }, { y }) => {
    const { outer, base, run } = factor(n)!;
    const depth = Math.log2(run * outer) + base.length - 1;
    const norms = Array.from({ length: y.shape[0] }, (_, t) => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += Math.abs(x[t * n + i]);
      return sum / Math.sqrt(n);
    });
    return {
      y: tolerance('2 (log₂(n / K) + K + 1) u Σ|x| / √n + τ', y, i =>
        sum(roundings(2 * (depth + 2), norms[Math.floor(i / n)]), flushed(1)),
      ),
    };
  },

  'neg-exp': (_, __, { y }) => ({
    y: tolerance('8 u |y| + τ: an exp of 2 ulp on either side', y, i => {
      const size = magnitude(y.data[i]);
      return sum(roundings(7, size), alike(1, size), flushed(1));
    }),
  }),

  silu: ({ x }, _, { y }) => ({
    y: tolerance('12 u |y| + (1 + |x|) τ: an exp of 2 ulp on either side, a sum, a division', y, i =>
      siluDoubt(x[i]),
    ),
  }),

  softplus: ({ x }, _, { y }) => ({
    y: tolerance('u (8 y + 4 eˣ/(1 + eˣ)) + τ: exp and log1p of 2 ulp, and the reference', y, i =>
      sum(roundings(8, magnitude(y.data[i])), roundings(4, sigmoid(x[i])), flushed(1)),
    ),
  }),

  'causal-conv1d': ({ x, w, b, past: before }, { dims: { d, k }, attrs }, { y, past: after }) => {
    const past = (t: number, c: number): number => (t >= 0 ? x[t * d + c] : before[c * (k - 1) + t + k - 1]);
    const ofSum = (at: number): readonly [value: number, doubt: Doubt] => {
      const c = at % d;
      const t = (at - c) / d;
      let value = b?.[c] ?? 0;
      let size = Math.abs(value);
      for (let j = 0; j < k; j++) {
        const product = w[c * k + j] * past(t - k + 1 + j, c);
        value += product;
        size += Math.abs(product);
      }
      return [value, sum(roundings(2 * (k + 1), size), flushed(k))];
    };
    const formula = '2 (k + 1) u (Σ|w x| + |b|) + k τ';
    return {
      y:
        attrs.activation === 'none'
          ? tolerance(formula, y, at => ofSum(at)[1])
          : tolerance(`|silu'| (${formula}) + silu of 12 u |y| + (1 + |x|) τ`, y, at => {
              const [value, doubt] = ofSum(at);
              return sum(times(doubt, Math.abs(siluSlope(value)) + doubt.most), siluDoubt(value));
            }),
      past: copy(after),
    };
  },

  'selective-scan': scanBounds,
};
