// The reference's bits: one f32 product for each element. The table lies in the tiles of linear-i8.ts.
import { mul, rowBytes } from './numerics';

export function embeddingI8(rows: i32, tokens: usize, w: usize, scale: usize, y: usize, m: i32): void {
  const row = rowBytes(m), tile = <usize>((m + 7) & ~7) << 2;
  for (let t = 0; t < rows; t++, tokens += 4) {
    const token = load<u32>(tokens), s = v128.load32_splat(scale + (token << 2));
    let from = w + tile * (token >> 2) + ((token & 3) << 3);
    for (const end = y + row; y < end; from += 32) {
      const q = v128.load8x8_s(from);
      v128.store(y, mul(s, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(q))));
      if (y + 16 < end) v128.store(y, mul(s, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(q))), 16);
      y += 32;
    }
    if (row & 16) y -= 16;
  }
}
