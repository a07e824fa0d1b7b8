/**
 * Takes a range of columns: how in_proj's output falls into x and z, and x_proj's into dt, B and C.
 *
 *   y[t, j] = x[t, start + j],   0 ≤ j < size
 *
 * Shapes   x f32[l, n] → y f32[l, size]
 * Numerics exact: a copy
 * Errors   C1 start is a whole number ≥ 0, 1 ≤ size, start + size ≤ n
 * Example  slice({ x: [[1, 2, 3], [4, 5, 6]] }, { start: 1, size: 2 }).y = [[2, 3], [5, 6]]
 * Source   torch.split
 */
import { defineOp } from '../op.ts';

export const slice = defineOp({
  name: 'slice',
  formula: 'y[t, j] = x[t, start + j]',
  inputs: { x: 'f32[l, n]' },
  outputs: { y: 'f32[l, size]' },
  attrs: { start: 0, size: 1 } as { readonly start: number; readonly size: number },
  constraints: {
    C1: [
      'start + size must be at most n, start a whole number from 0 on, size at least 1',
      ({ start, size, n }) => start >= 0 && Number.isInteger(start) && size >= 1 && start + size <= n,
    ],
  },
  reference: ({ x }, { start, size }, { y }, { l, n }) => {
    for (let t = 0; t < l; t++) y.data.set(x.data.subarray(t * n + start, t * n + start + size), t * size);
  },
  sweep: { l: [1, 3], n: [80], start: [0, 48, 64], size: [1, 16] },
});
