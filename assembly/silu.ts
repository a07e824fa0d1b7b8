// The reference's bits: each element is silu of numerics.ts, no order to keep.
import * as v from './numerics';

export function silu(rows: i32, x: usize, y: usize, n: i32): void {
  const size = v.rowBytes(n) * rows;
  for (let i: usize = 0; i < size; i += 16) v128.store(y + i, v.silu(v128.load(x + i)));
}
