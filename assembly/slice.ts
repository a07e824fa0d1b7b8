// The reference's bits: a copy.
import { rowBytes } from './numerics';

export function slice(rows: i32, x: usize, y: usize, n: i32, start: i32, size: i32): void {
  const from = rowBytes(n), to = rowBytes(size);
  x += <usize>start << 2;
  for (let t = 0; t < rows; t++, x += from, y += to)
    for (let i: usize = 0; i < to; i += 16) v128.store(y + i, v128.load(x + i));
}
