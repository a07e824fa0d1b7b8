/**
 * Turns pairs of channels of each head by angles that grow with the token's position, so that a product of a query with a key
 * depends on how far apart they are (rotary position embedding).
 *
 *   (y[i], y[i + r]) = (x[i] cos − x[i + r] sin, x[i + r] cos + x[i] sin)      i = 0 … r−1, for each head
 *
 * Shapes   x f32[l, h·p]; cos, sin f32[l, r] → y f32[l, h·p]. Channels from 2r on are not turned
 * Numerics y[i]     = fround(fround(x[i] · cos) − fround(x[i + r] · sin))
 *          y[i + r] = fround(fround(x[i + r] · cos) + fround(x[i] · sin)).   Exact by this order
 * Errors   C1 2r ≤ p
 * Example  rope({ x: [1, 2, 3, 4], cos: [0, 1], sin: [1, 0] }).y = [-3, 2, 1, 4]
 * Source   RoFormer (arXiv 2104.09864) eq. 34 · transformers › apply_rotary_pos_emb, whose pairs are halves of a head
 */
import { defineOp } from '../op.ts';

const f = Math.fround;

export const rope = defineOp({
  name: 'rope',
  formula: '(y[i], y[i + r]) = (x[i] cos − x[i + r] sin, x[i + r] cos + x[i] sin)',
  inputs: { x: 'f32[l, h*p]', cos: 'f32[l, r]', sin: 'f32[l, r]' },
  outputs: { y: 'f32[l, h*p]' },
  attrs: { h: 1 } as { readonly h: number },
  constraints: {
    C1: ['2r must be at most p', ({ r, p }) => 2 * r <= p],
  },
  reference: ({ x, cos, sin }, { h }, { y }, { l, p, r }) => {
    y.data.set(x.data);
    for (let t = 0; t < l; t++)
      for (let i = 0; i < r; i++) {
        const [c, s] = [cos.data[t * r + i], sin.data[t * r + i]];
        for (let head = 0; head < h; head++) {
          const [a, b] = [(t * h + head) * p + i, (t * h + head) * p + i + r];
          y.data[a] = f(f(x.data[a] * c) - f(x.data[b] * s));
          y.data[b] = f(f(x.data[b] * c) + f(x.data[a] * s));
        }
      }
  },
  sweep: { l: [1, 3], h: [1, 2, 6], p: [4, 6, 8, 64], r: [1, 2, 3, 4, 32] },
});
