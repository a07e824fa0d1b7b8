/** Bugs of layout and formula: correct numbers in the wrong place, and terms that are lost or misplaced. */
import { factor } from '../../ops/hadamard.ts';
import { ops } from '../../ops/index.ts';
import type { Tensor } from '../../tensor.ts';
import { type Broken, inKernel, mapped, mistaken, reversed } from './row.ts';

const f = Math.fround;

const { causalConv1d, dequantize, dequantizeI4, embedding, embeddingI8, fwht } = ops;
const { linear, linearI4, linearI8, scaleChannels, slice } = ops;

/** What a kernel reads that takes a matrix to lie in memory column by column. */
function transposed<T extends Tensor>(matrix: T): T {
  const [rows, columns] = matrix.shape;
  const data = matrix.data.slice();
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) data[i * columns + j] = matrix.data[j * rows + i];
  return { ...matrix, data };
}

/** The scales with that of the first of `g` groups in place of each. */
const ofFirstGroup = (scales: Tensor<'f32'>, g: number): Tensor<'f32'> =>
  mapped(scales, (_, at) => scales.data[at - (at % g)]);

/** Moves the elements of each row of n = K · run from place i · run + c to c · K + i. */
function interleaved<T extends Tensor<'f32'>>(x: T, n: number, run: number): T {
  const data = x.data.slice();
  const K = n / run;
  for (let row = 0; row < data.length; row += n)
    for (let at = 0; at < n; at++) data[row + at] = x.data[row + (at % K) * run + Math.floor(at / K)];
  return { ...x, data };
}

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const layoutBugs: readonly Broken[] = [
  mistaken('conv-flipped', 'The taps run backwards: a convolution where a correlation is meant.',
    causalConv1d, { inputs: ({ w }) => ({ w: reversed(w) }) }),
  mistaken('conv-bias-after-silu', 'The bias is added to the activation.', causalConv1d, {
    inputs: () => ({ b: undefined }),
    output: (y, i, { b }, { d }) => (b ? f(y + b.data[i % d]) : y),
  }),
  mistaken('conv-always-silu', "The activation 'none' is ignored.",
    causalConv1d, { attrs: () => ({ activation: 'silu' }) }),
  mistaken('linear-transposed', 'The weight is read as [i, o].',
    linear, { inputs: ({ w }) => ({ w: transposed(w) }) }),
  mistaken('linear-i8-transposed', 'The weight is read as [i, o].',
    linearI8, { inputs: ({ w }) => ({ w: transposed(w) }) }),
  mistaken('linear-i8-group-scales-transposed', 'The scales of the groups are read as [g, o].',
    linearI8, { inputs: ({ wscale }) => ({ wscale: transposed(wscale) }) }),
  mistaken('linear-i8-one-group', 'The scale of the first group serves all.',
    linearI8, { inputs: ({ wscale }, { g }) => ({ wscale: ofFirstGroup(wscale, g) }) }),
  mistaken('linear-i4-halves-swapped', 'The even column is taken from the upper half of a byte.',
    linearI4, { inputs: ({ w }) => ({ w: mapped(w, byte => ((byte >> 4) & 15) | (byte << 4)) }) }),
  mistaken('linear-i4-one-group', 'The scale of the first group serves all.',
    linearI4, { inputs: ({ wscale }, { g }) => ({ wscale: ofFirstGroup(wscale, g) }) }),
  mistaken('linear-i8-bias-before-scale',
    'The bias is added to the integers, as if it were in steps.', linearI8, {
      inputs: () => ({ b: undefined }),
      output(y, at, { xscale, wscale, b }, { o, s, p, g }) {
        if (!b) return y;
        const row = at % o;
        const scale = f(xscale.data[s === 1 ? 0 : Math.floor(at / o)] * wscale.data[p === 1 ? 0 : row * g]);
        return f(y + f(Math.round(b.data[row]) * scale));
      },
    }),
  mistaken('slice-from-zero', 'The start is ignored.', slice, { attrs: () => ({ start: 0 }) }),
  inKernel('slice-own-stride', 'Rows are taken to be as long as the slice.',
    slice, ({ x }, { start }, { y }) => {
      for (const i of y.data.keys()) y.data[i] = x.data[start + i];
    }),
  mistaken('embedding-next-row', 'Rows are counted from 1.',
    embedding, { inputs: ({ tokens }) => ({ tokens: mapped(tokens, token => Math.max(token - 1, 0)) }) }),
  mistaken('embedding-i8-first-scale', 'Every row has the scale of the first.',
    embeddingI8, { inputs: ({ scale }) => ({ scale: mapped(scale, () => scale.data[0]) }) }),
  mistaken('dequantize-unsigned', 'The codes are read as 0 … 255.', dequantize, {
    output: (_, i, { q, scale }, { n, s }) =>
      f(scale.data[s === 1 ? 0 : Math.floor(i / n)] * (q.data[i] & 255)),
  }),
  mistaken('dequantize-i4-one-group', 'The scale of the first group serves the whole row.',
    dequantizeI4, { inputs: ({ scale }, { g }) => ({ scale: ofFirstGroup(scale, g) }) }),
  mistaken('scale-channels-never-divides', 'The inverse multiplies too.',
    scaleChannels, { attrs: () => ({ inverse: false }) }),
  mistaken('scale-channels-by-reciprocal', 'The inverse multiplies by 1 / c.', scaleChannels, {
    inputs: ({ c }, _, { inverse }) => (inverse ? { c: mapped(c, value => f(1 / value)) } : {}),
    attrs: () => ({ inverse: false }),
  }),

  mistaken('fwht-not-normalised', 'The factor 1/√n is left out.',
    fwht, { output: (y, _, __, { n }) => f(y * Math.sqrt(n)) }),
  mistaken('fwht-inverse-is-forward',
    'The inverse is taken for the transform itself: right but where M_20 is in it.',
    fwht, { attrs: () => ({ inverse: false }) }),
  mistaken('fwht-inverse-of-40', 'At 40·2^k, k ≥ 0, the inverse is taken for the transform: right at 20.',
    fwht, { attrs: ({ inverse }, { n }) => ({ inverse: inverse && factor(n)!.outer === 1 }) }),
  inKernel('fwht-rows-slow-fast', 'H_2^k ⊗ M_K in place of M_K ⊗ H_2^k: the K rows run fastest.',
    fwht, ({ x }, attrs, { y }, dims) => {
      const { n } = dims;
      const run = factor(n)!.run * factor(n)!.outer;
      fwht.reference({ x: interleaved(x, n, n / run) }, attrs, { y }, dims);
      y.data.set(interleaved(y, n, run).data);
    }),
  inKernel('fwht-power-of-two-only', 'M_K is left out: each run of 2^k is transformed by itself.',
    fwht, (inputs, attrs, outputs, dims) => {
      const { n, l } = dims;
      const size = factor(n)!.run;
      fwht.reference(inputs, attrs, outputs, { l: (l * n) / size, n: size });
    }),
];
