/**
 * The cosines, or the sines, of the angles by which `rope` turns the tokens of this call.
 *
 *   y[t, i] = cos(position · freq[i]),   position = the tokens fed before + t
 *
 * Shapes   tokens i32[l], of which only the number counts; freq f32[r] → y f32[l, r]
 * State    fed f32[1], the tokens fed before; 0 at the start of a text, exact up to 2²⁴
 * Numerics angle = fround(fround(fed + t) · freq), then cos or sin of numerics.ts. Exact by this order
 * Errors   none
 * Example  ropeTable({ tokens: [0, 0], freq: [1, 0.5] }).y = [[1, 1], [0.540302, 0.877583]]
 *          ropeTable({ tokens: [0], freq: [1, 0.5], fed: [2] }, { sine: true }).y = [0.909297, 0.841471]
 * Source   RoFormer (arXiv 2104.09864) §3.2 · transformers › LlamaRotaryEmbedding, which has the angle in f32 too
 */
import { defineOp } from '../op.ts';
import { cos, sin } from './numerics.ts';

const f = Math.fround;

export const ropeTable = defineOp({
  name: 'rope-table',
  formula: 'y[t, i] = cos(position · freq[i])',
  inputs: { tokens: 'i32[l]', freq: 'f32[r]' },
  outputs: { y: 'f32[l, r]' },
  states: { fed: 'f32[1]' },
  attrs: { sine: false } as { readonly sine: boolean },
  reference: ({ freq }, { sine }, { y }, { l, r }, { fed }) => {
    const turn = sine ? sin : cos;
    const [before] = fed.data;
    for (let t = 0; t < l; t++)
      for (let i = 0; i < r; i++) y.data[t * r + i] = turn(f(f(before + t) * freq.data[i]));
    fed.put(0, [f(before + l)]);
  },
  sweep: { l: [1, 2, 5], r: [1, 2, 3, 16, 32], sine: [false, true] },
});

/**
 * The frequencies θ^(−i/r) of RoPE, i = 0 … r−1, in f64 and rounded once. θ^(1/r) is by Newton's iteration and its powers by products,
 * so that every engine has the same: `Math.pow` differs between them.
 *
 * @param theta the base, at least 1.
 */
export function ropeFrequencies(theta: number, r: number): Float32Array {
  const power = (x: number, n: number): number => {
    let product = 1;
    for (let i = 0; i < n; i++) product *= x;
    return product;
  };
  let root = 1 + (theta - 1) / r; // not below θ^(1/r), from where Newton's iteration descends
  for (;;) {
    const next = root - (root - theta / power(root, r - 1)) / r;
    if (!(next < root)) break;
    root = next;
  }
  return Float32Array.from({ length: r }, (_, i) => 1 / power(root, i));
}
