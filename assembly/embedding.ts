// The reference's bits: a copy. The table lies in the tiles of linear.ts, so that a tied head needs no second one.
import { rowBytes } from './numerics';
import { first, last } from './threads';

export function embedding(rows: i32, tokens: usize, w: usize, y: usize, m: i32): void {
  const row = rowBytes(m);
  y += row * first(rows);
  for (let t = first(rows), stop = last(rows); t < stop; t++) {
    const token = load<u32>(tokens + (<usize>t << 2));
    let from = w + (row << 2) * (token >> 2) + ((token & 3) << 4);
    for (const end = y + row; y < end; y += 16, from += 64) v128.store(y, v128.load(from));
  }
}
