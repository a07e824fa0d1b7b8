// The reference's bits: a copy. The table lies in the tiles of linear.ts, so that a tied head needs no second one.
import { rowBytes } from './numerics';

export function embedding(rows: i32, tokens: usize, w: usize, y: usize, m: i32): void {
  const row = rowBytes(m);
  for (let t = 0; t < rows; t++, tokens += 4) {
    const token = load<u32>(tokens);
    let from = w + (row << 2) * (token >> 2) + ((token & 3) << 4);
    for (const end = y + row; y < end; y += 16, from += 64) v128.store(y, v128.load(from));
  }
}
