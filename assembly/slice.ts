// The reference's bits: a copy.
import { rowBytes } from './numerics';
import { first, last } from './threads';

export function slice(rows: i32, x: usize, y: usize, n: i32, start: i32, size: i32): void {
  const from = rowBytes(n), to = rowBytes(size);
  x += (<usize>start << 2) + from * first(rows);
  y += to * first(rows);
  for (let t = first(rows), end = last(rows); t < end; t++, x += from, y += to)
    for (let i: usize = 0; i < to; i += 16) v128.store(y + i, v128.load(x + i));
}
