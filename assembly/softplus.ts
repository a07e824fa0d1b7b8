// The reference's bits: each element is softplus of numerics.ts, no order to keep.
import * as v from './numerics';

export function softplus(rows: i32, x: usize, y: usize, n: i32): void {
  const size = v.rowBytes(n) * rows;
  for (let i: usize = 0; i < size; i += 16) v128.store(y + i, v.softplus(v128.load(x + i)));
}
