/** Bugs of sums (their precision, their order) and of the elementary functions. */
import { ops } from '../../ops/index.ts';
import { exp, silu as siluOf, softplus as softplusOf } from '../../ops/numerics.ts';
import { type Broken, inKernel, mistaken } from './row.ts';

const f = Math.fround;

const { linear, negExp, rmsNorm, silu, softplus } = ops;

/** x rounded to `bits` significant bits, and to a multiple of `least`. */
function significant(x: number, bits: number, least = 0): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const step = Math.max(2 ** (Math.floor(Math.log2(Math.abs(x))) + 1 - bits), least);
  const steps = Math.round(x / step);
  return (steps - (steps % 2 && Math.abs(x / step) % 1 === 0.5 ? 1 : 0)) * step;
}
export const toF16 = (x: number): number => {
  const half = significant(x, 11, 2 ** -24);
  return Math.abs(half) > 65504 ? Math.sign(half) * Number.POSITIVE_INFINITY : half;
};
const toTF32 = (x: number): number => significant(x, 11);
export const toBF16 = (x: number): number => significant(x, 8);

const FLOAT = new Float32Array(1);
const BITS = new Int32Array(FLOAT.buffer);
/** Rounds toward zero: takes the next f32 toward zero where the nearest one is larger than x. */
function truncated(x: number): number {
  FLOAT[0] = x;
  if (Math.abs(FLOAT[0]) > Math.abs(x)) BITS[0]--;
  return FLOAT[0];
}

/** A dot product as one ascending sum: `step` makes the next sum of the sum so far and two factors. */
const multiplying = (
  name: string,
  says: string,
  step: (sum: number, x: number, w: number) => number,
): Broken =>
  inKernel(name, says, linear, ({ x, w, b }, _, { y }, { l, i, o }) => {
    for (let t = 0; t < l; t++)
      for (let row = 0; row < o; row++) {
        let sum = 0;
        for (let k = 0; k < i; k++) sum = step(sum, x.data[t * i + k], w.data[row * i + k]);
        y.data[t * o + row] = b ? f(sum + b.data[row]) : sum;
      }
  });

type RootOf = (row: Float32Array, eps: number) => number;
/** A norm that divides each row by `rootOf` it. */
const dividing =
  (rootOf: RootOf): typeof rmsNorm.reference =>
  ({ x, w }, { eps }, { y }, { l, m }) => {
    for (let t = 0; t < l; t++) {
      const root = rootOf(x.data.subarray(t * m, (t + 1) * m), eps);
      for (let j = 0; j < m; j++) y.data[t * m + j] = f(f(x.data[t * m + j] / root) * (w ? w.data[j] : 1));
    }
  };
export const norming = (name: string, says: string, rootOf: RootOf): Broken =>
  inKernel(name, says, rmsNorm, dividing(rootOf));
const meanOf = (row: Float32Array, add: (sum: number, x: number) => number): number =>
  f(row.reduce(add, 0) / row.length);
const meanSquare = (row: Float32Array): number => meanOf(row, (sum, x) => f(sum + f(x * x)));
const inOneLane: RootOf = (row, eps) => f(Math.sqrt(f(meanSquare(row) + f(eps))));
export const normingInOneLane = dividing(inOneLane);

const elementwise = (
  name: string,
  says: string,
  op: typeof silu | typeof softplus | typeof negExp,
  of: (x: number) => number,
): Broken => mistaken(name, says, op, { output: (_, i, { x }) => of(x.data[i]) });

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const accumulationBugs: readonly Broken[] = [
  multiplying('linear-f16-sum', 'The sum is kept in f16.', (sum, x, w) => toF16(sum + f(x * w))),
  multiplying('linear-bf16-inputs', 'Both factors are rounded to bf16.',
    (sum, x, w) => f(sum + f(toBF16(x) * toBF16(w)))),
  multiplying('linear-tf32-inputs', 'Both factors are rounded to tf32, as tensor cores do it unless told.',
    (sum, x, w) => f(sum + f(toTF32(x) * toTF32(w)))),
  multiplying('linear-truncates', 'Products and sums are rounded toward zero.',
    (sum, x, w) => truncated(sum + truncated(x * w))),
  multiplying('linear-fma', 'A fused multiply-add: one rounding for a product and its sum.',
    (sum, x, w) => f(sum + x * w)),
  multiplying('linear-one-lane', 'One ascending sum in place of four lanes.',
    (sum, x, w) => f(sum + f(x * w))),

  norming('rms-norm-eps-outside', 'eps is added to the root, not under it.',
    (row, eps) => f(f(Math.sqrt(meanSquare(row))) + eps)),
  norming('rms-norm-no-eps', 'eps is left out.', row => f(Math.sqrt(meanSquare(row)))),
  norming('rms-norm-of-deviations', 'The mean is subtracted first, as in LayerNorm.', (row, eps) => {
    const mean = meanOf(row, (sum, x) => f(sum + x));
    return f(Math.sqrt(f(meanSquare(row.map(x => x - mean)) + eps)));
  }),
  norming('rms-norm-f16-squares', 'Squares are added in f16, where 300² is infinite.',
    (row, eps) => f(Math.sqrt(f(meanOf(row, (sum, x) => toF16(sum + toF16(x * x))) + eps)))),
  norming('rms-norm-one-lane', 'One ascending sum in place of 32 lanes, and a division in place of 1/√.',
    inOneLane),

  elementwise('softplus-threshold-10', 'Above 10 it is x itself; that holds above 20.',
    softplus, x => x > 10 ? x : softplusOf(x)),
  elementwise('softplus-log-of-sum', 'log(1 + eˣ) as it stands: what is small is lost in the 1.',
    softplus, x => (x > 20 ? x : f(Math.log(f(1 + exp(x)))))),
  elementwise('silu-by-sigmoid-fit', 'x · clamp(x/6 + ½, 0, 1), the hard form.',
    silu, x => x === Number.NEGATIVE_INFINITY ? -0 : f(x * Math.min(Math.max(f(x / 6) + 0.5, 0), 1))),
  elementwise('silu-overflows', 'eˣ / (1 + eˣ) · x: infinite over infinite for large x.', silu, x => {
    const e = exp(x);
    return x === Number.NEGATIVE_INFINITY ? -0 : f(x * f(e / f(1 + e)));
  }),
  elementwise('silu-f16', 'The result is rounded to f16.', silu, x => toF16(siluOf(x))),
  elementwise('neg-exp-loses-its-sign', 'A = exp(A_log), so that the state grows.', negExp, exp),
  elementwise('neg-exp-by-its-bits', "Schraudolph's exp, a line between powers of two: 4 % off.",
    negExp, x => {
      BITS[0] = Math.min(Math.max(12102203 * x + 1064866805, 0), 0x7f7fffff);
      return -FLOAT[0];
    }),
];
