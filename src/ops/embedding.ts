/**
 * Looks up one row of a table for each token.
 *
 *   y[t] = w[tokens[t]]
 *
 * Shapes   tokens i32[l], w f32[v, m] → y f32[l, m]
 * Numerics exact: a copy
 * Errors   C1 every token lies in 0 … v−1
 * Example  embedding({ tokens: [1, 0, 1], w: [[1, 2], [3, 4]] }).y = [[3, 4], [1, 2], [3, 4]]
 * Source   torch.nn.functional.embedding
 */
import { defineOp } from '../op.ts';

/** @throws RangeError naming the first token that is not a row of the table. */
export function checkTokens(name: string, tokens: Int32Array, v: number): void {
  const at = tokens.findIndex(token => token < 0 || token >= v);
  if (at >= 0)
    throw new RangeError(
      `${name} C1: every token must lie in 0 … ${v - 1}; got ${tokens[at]} at position ${at}`,
    );
}

export const embedding = defineOp({
  name: 'embedding',
  formula: 'y[t] = w[tokens[t]]',
  inputs: { tokens: 'i32[l]', w: 'f32[v, m]' },
  outputs: { y: 'f32[l, m]' },
  reference: ({ tokens, w }, _, { y }, { l, v, m }) => {
    checkTokens('embedding', tokens.data, v);
    for (let t = 0; t < l; t++)
      y.data.set(w.data.subarray(tokens.data[t] * m, (tokens.data[t] + 1) * m), t * m);
  },
  sweep: { l: [1, 2, 5], v: [1, 7], m: [1, 15, 16, 17, 384] },
});
