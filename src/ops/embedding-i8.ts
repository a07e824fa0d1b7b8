/**
 * Looks up one row of an int8 table for each token and gives it back its scale.
 *
 *   y[t, j] = scale[token] · w[token, j],   token = tokens[t]
 *
 * Shapes   tokens i32[l], w i8[v, m], scale f32[v] (one for each row) → y f32[l, m]
 * Numerics exact up to one f32 rounding of each product; equal to dequantize, then embedding
 * Errors   C1 every token lies in 0 … v−1
 * Example  embeddingI8({ tokens: [1], w: [[1, 2], [3, 4]], scale: [1, 0.5] }).y = [[1.5, 2]]
 * Source   int8 row-wise embedding, as in the quamba-int8 presets that go beyond the paper
 */
import { defineOp } from '../op.ts';
import { checkTokens } from './embedding.ts';

const f = Math.fround;

export const embeddingI8 = defineOp({
  name: 'embedding-i8',
  formula: 'y[t] = scale[tokens[t]] · w[tokens[t]]',
  inputs: { tokens: 'i32[l]', w: 'i8[v, m]', scale: 'f32[v]' },
  outputs: { y: 'f32[l, m]' },
  reference: ({ tokens, w, scale }, _, { y }, { l, v, m }) => {
    checkTokens('embedding-i8', tokens.data, v);
    for (let t = 0; t < l; t++) {
      const token = tokens.data[t];
      for (let j = 0; j < m; j++) y.data[t * m + j] = f(scale.data[token] * w.data[token * m + j]);
    }
  },
  sweep: { l: [1, 2, 5], v: [1, 7], m: [1, 15, 16, 17, 384] },
});
