// The reference's bits: each element is softplus of numerics.ts, no order to keep.
import * as v from './numerics';
import { first, last } from './threads';

export function softplus(rows: i32, x: usize, y: usize, n: i32): void {
  const lines = <i32>((v.rowBytes(n) * rows + 63) >> 6);
  for (let i = <usize>first(lines) << 6, end = <usize>last(lines) << 6; i < end; i += 16) v128.store(y + i, v.softplus(v128.load(x + i)));
}
