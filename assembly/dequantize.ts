// The reference's bits: one f32 product for each element, no order to keep.
import { mul, rowBytes } from './numerics';

/** `each`: 4 where every row has its own scale, 0 where all share one. */
export function dequantize(rows: i32, q: usize, scale: usize, each: i32, x: usize, n: i32): void {
  const row = rowBytes(n);
  for (let t = 0; t < rows; t++, scale += each) {
    const s = v128.load32_splat(scale);
    for (const end = x + row; x < end; x += 16, q += 4) {
      const wide = i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(q)));
      v128.store(x, mul(s, f32x4.convert_i32x4_s(wide)));
    }
  }
}
