// The reference's bits: one f32 product for each element. The table lies in tiles-i8.ts's tiles, as a tied head reads it.
import { integers, mul, rowBytes } from './numerics';
import { first, last } from './threads';
import { HEAD, tileBytes, unbiased } from './tiles-i8';

export function embeddingI8(rows: i32, tokens: usize, w: usize, scale: usize, y: usize, m: i32): void {
  const row = rowBytes(m);
  y += row * first(rows);
  for (let t = first(rows), stop = last(rows); t < stop; t++) {
    const token = load<u32>(tokens + (<usize>t << 2)), s = v128.load32_splat(scale + (token << 2));
    let from = w + tileBytes(m) * (token >> 4) + HEAD + ((token & 15) << 2);
    for (const end = y + row; y < end; y += 16, from += 64) {
      v128.store(y, mul(s, integers(unbiased(v128.load32_zero(from)))));
    }
  }
}
