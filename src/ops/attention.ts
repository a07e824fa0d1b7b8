/**
 * Looks back over the text: each token takes from the values of all tokens up to it, by how well its query fits their keys.
 *
 *   y[t] = Σ_{s ≤ t} w[s] v[s] / Σ_{s ≤ t} w[s],   w[s] = exp(c[s] − max c),   c[s] = scale · (q[t] · k[s])      for each head
 *
 *   key      0 … 127   128 … 255   256 … 300                    blocks of 128 keys, by their place in the text
 *   Σ        block 0 + block 1   + block 2                      so that a cut of the text does not change the order of a sum
 *
 * Shapes   q f32[l, h·p]; k, v f32[l, g·p] → y f32[l, h·p]. Query head i reads key and value head ⌊i·g/h⌋ (grouped queries)
 * State    K, V f32[t, g, p], the keys and values of all tokens before; k and v of this call are added to them first. Their types
 *          may keep them in f16, or in int8 with a step for each token and head, measured as it comes: then the tokens of
 *          this call read back rounded too, so that any cut of a text gives the same
 * Numerics exp is that of numerics.ts. For each token and head, over the keys s = 0 … S−1 that it sees, itself included:
 *            lane = fround(lane + fround(q · K[s]))       lane i mod 4 of the p products, i ascending, from +0
 *            c[s] = fround(scale · fround(fround(lane 0 + lane 2) + fround(lane 1 + lane 3)))
 *            w[s] = exp(fround(c[s] − max c))             the maximum of all S, which is exact
 *          and for each block of 128 keys, ascending, of which the last may be short:
 *            part = fround(part + w[s])                   s ascending from the block's first, from +0
 *            sum  = fround(sum + part)                    from +0
 *          and each of the p values likewise, with fround(w[s] · V[s]) in place of w[s]; then y = fround(values / sum).
 *          Exact by this order. A NaN in c gives NaN
 * Errors   C1 g divides h; C2 p is a multiple of 4
 * Example  attention({ q: [0, 0, 0, 0], k: [1, 2, 3, 4], v: [5, 6, 7, 8] }).y = [5, 6, 7, 8]
 *          attention({ q: [0, 0, 0, 0], k: [1, 1, 1, 1], v: [1, 2, 3, 4], K: [0, 0, 0, 0], V: [3, 4, 5, 6] }).y = [2, 3, 4, 5]
 * Source   Attention Is All You Need (arXiv 1706.03762) eq. 1 · GQA (arXiv 2305.13245) · transformers › eager_attention_forward.
 *          The scale is given: Granite's is 1/p, most others' 1/√p
 */
import { defineOp } from '../op.ts';
import { exp } from './numerics.ts';

const f = Math.fround;

/** So many keys are summed before their sum is added. */
const BLOCK = 128;

export const attention = defineOp({
  name: 'attention',
  formula: 'y = Σ w·v / Σ w over s ≤ t, w = exp(c − max c), c = scale · (q · k)',
  inputs: { q: 'f32[l, h*p]', k: 'f32[l, g*p]', v: 'f32[l, g*p]' },
  outputs: { y: 'f32[l, h*p]' },
  states: { K: 'f32[t, g, p]', V: 'f32[t, g, p]' },
  attrs: { h: 1, g: 1, scale: 1 } as { readonly h: number; readonly g: number; readonly scale: number },
  constraints: {
    C1: [
      'the key heads g must divide the query heads h',
      ({ g, h }) => g >= 1 && h >= 1 && Number.isInteger(g) && Number.isInteger(h / g),
    ],
    C2: ['p must be a multiple of 4', ({ p }) => p % 4 === 0],
  },
  reference: ({ q, k, v }, { h, g, scale }, { y }, { l, p, t: past }, { K, V }) => {
    K.put(past * g * p, k.data);
    V.put(past * g * p, v.data);
    const weights = new Float32Array(past + l);
    for (let t = 0; t < l; t++)
      for (let i = 0; i < h; i++) {
        const seen = weights.subarray(0, past + t + 1);
        const query = q.data.subarray((t * h + i) * p, (t * h + i + 1) * p);
        const head = Math.floor((i * g) / h) * p; // where its keys and values begin among those of a token
        for (let s = 0; s < seen.length; s++) seen[s] = f(f(scale) * dot(query, K.data, s * g * p + head));
        const most = seen.reduce((a, b) => (b > a ? b : a), Number.NEGATIVE_INFINITY);
        for (let s = 0; s < seen.length; s++) seen[s] = exp(f(seen[s] - most));
        const sum = inBlocks(seen, s => seen[s]);
        for (let c = 0; c < p; c++) {
          const values = inBlocks(seen, s => f(seen[s] * V.data[s * g * p + head + c]));
          y.data[(t * h + i) * p + c] = f(values / sum);
        }
      }
  },
  sweep: {
    l: [1, 2, 5],
    h: [1, 6],
    g: [1, 3],
    p: [4, 8],
    t: [0, 1, 126, 127, 128, 129, 255, 256, 257, 300],
    scale: [0.3],
  },
});

/** The product of a query with the key that begins at `at`. */
function dot(query: Float32Array, keys: Float32Array, at: number): number {
  const lanes = new Float32Array(4);
  for (let i = 0; i < query.length; i++) lanes[i % 4] = f(lanes[i % 4] + f(query[i] * keys[at + i]));
  return f(f(lanes[0] + lanes[2]) + f(lanes[1] + lanes[3]));
}

/** Σ of a term for each key, the sums of the blocks added in their order. */
function inBlocks({ length }: ArrayLike<number>, term: (s: number) => number): number {
  let sum = 0;
  for (let begin = 0; begin < length; begin += BLOCK) {
    let part = 0;
    for (let s = begin; s < Math.min(begin + BLOCK, length); s++) part = f(part + term(s));
    sum = f(sum + part);
  }
  return sum;
}
