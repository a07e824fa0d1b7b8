/** Bounds of the ops that make each value from a few others: copies, one product or sum, an exp. */
import type { Data, Tensor } from '../../tensor.ts';
import type { Tolerance } from '../case.ts';
import {
  alike,
  type Bounds,
  flushed,
  magnitude,
  roundings,
  sigmoid,
  siluDoubt,
  sum,
  times,
  tolerance,
} from './doubt.ts';

export const copy = (expected: Tensor): Tolerance =>
  tolerance('a copy, τ where it is flushed', expected, () => flushed(1));

/** One product or sum. An input that is flushed to 0 was multiplied by at most `factor`. */
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

export const valueBounds: Readonly<Record<string, Bounds>> = {
  add: roundsOnce('sum', () => 1),
  embedding: (_, __, { y }) => ({ y: copy(y) }),
  slice: (_, __, { y }) => ({ y: copy(y) }),
  dequantize: roundsOnce('x', ({ q }) => absmax(q)),
  'dequantize-i4': roundsOnce('x', () => 8),
  'embedding-i8': roundsOnce('y', ({ w }) => absmax(w)),

  quantize: (_, __, { q }) => ({
    q: {
      formula: 'exact: x and scale are given, and x / scale rounds correctly',
      bounds: new Float64Array(q.data.length),
      bias: 0,
    },
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

  'neg-exp': (_, __, { y }) => ({
    y: tolerance('8 u |y| + τ: an exp of 2 ulp on either side', y, i => {
      const size = magnitude(y.data[i]);
      return sum(roundings(7, size), alike(1, size), flushed(1));
    }),
  }),

  'squared-relu': roundsOnce('y', () => 0),

  swiglu: ({ gate, up }, _, { y }) => ({
    y: tolerance('|up| (12 u |silu| + (1 + |gate|) τ) + 2 u |y| + τ: that of silu, and a product', y, i =>
      sum(times(siluDoubt(gate[i]), Math.abs(up[i])), roundings(2, magnitude(y.data[i])), flushed(1)),
    ),
  }),

  rope: ({ x, cos, sin }, { dims: { p, r } }, { y }) => ({
    y: tolerance(
      '4 u (|x cos| + |x sin|) + (|x| + |cos| + |sin| + 3) τ: two products and a sum on either side',
      y,
      i => {
        const c = i % p;
        if (c >= 2 * r) return flushed(1);
        const angle = Math.floor(i / y.shape[1]) * r + (c % r);
        const [mine, other] = [x[i], x[c < r ? i + r : i - r]].map(Math.abs);
        const [ofCos, ofSin] = [Math.abs(cos[angle]), Math.abs(sin[angle])];
        return sum(roundings(4, mine * ofCos + other * ofSin), flushed(3 + mine + other + ofCos + ofSin));
      },
    ),
  }),

  'rope-table': (_, __, { y, fed }) => ({
    y: tolerance('8 u: a cos or sin of 2 ulp of 1 on either side; the angle rounds correctly', y, () =>
      sum(roundings(6, 1), alike(2, 1)),
    ),
    fed: copy(fed),
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
};
