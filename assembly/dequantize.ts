// The reference's bits: one f32 product for each element, no order to keep.
import { mul, rowBytes } from './numerics';
import { first, last } from './threads';

/** `each`: 4 where every row has its own scale, 0 where all share one. */
export function dequantize(rows: i32, q: usize, scale: usize, each: i32, x: usize, n: i32): void {
  const row = rowBytes(n);
  x += row * first(rows);
  q += (row >> 2) * first(rows);
  for (let t = first(rows), stop = last(rows); t < stop; t++) {
    const s = v128.load32_splat(scale + each * t);
    for (const end = x + row; x < end; x += 16, q += 4) {
      const wide = i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(q)));
      v128.store(x, mul(s, f32x4.convert_i32x4_s(wide)));
    }
  }
}
