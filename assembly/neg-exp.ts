// The reference's bits: each element is −exp of numerics.ts, no order to keep.
import * as v from './numerics';

export function negExp(rows: i32, x: usize, y: usize, n: i32): void {
  const size = v.rowBytes(n) * rows;
  for (let i: usize = 0; i < size; i += 16) v128.store(y + i, f32x4.neg(v.exp(v128.load(x + i))));
}
