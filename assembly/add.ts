// The reference's bits: one f32 sum for each element, no order to keep.
import * as v from './numerics';

export function add(rows: i32, x: usize, y: usize, sum: usize, n: i32): void {
  const size = v.rowBytes(n) * rows;
  for (let i: usize = 0; i < size; i += 16) v128.store(sum + i, v.add(v128.load(x + i), v128.load(y + i)));
}
