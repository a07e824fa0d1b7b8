// The reference's bits: one f32 sum for each element, no order to keep.
import * as v from './numerics';
import { first, last } from './threads';

export function add(rows: i32, x: usize, y: usize, sum: usize, n: i32): void {
  const lines = <i32>((v.rowBytes(n) * rows + 63) >> 6);
  for (let i = <usize>first(lines) << 6, end = <usize>last(lines) << 6; i < end; i += 16) v128.store(sum + i, v.add(v128.load(x + i), v128.load(y + i)));
}
