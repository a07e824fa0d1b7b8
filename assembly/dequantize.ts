// The reference's bits: one f32 product for each element, no order to keep.
import { integers, mul, rowBytes } from './numerics';
import { first, last } from './threads';

/** `each`: 4 where every row has its own scale, 0 where all share one. */
export function dequantize(rows: i32, q: usize, scale: usize, each: i32, x: usize, n: i32): void {
  const row = rowBytes(n);
  x += row * first(rows);
  q += (row >> 2) * first(rows);
  for (let t = first(rows), end = last(rows); t < end; t++, x += row, q += row >> 2) real(q, scale + each * t, x, row);
}

/** scale · q, as many as fill `bytes` bytes of x. */
export function real(q: usize, scale: usize, x: usize, bytes: usize): void {
  const s = v128.load32_splat(scale);
  for (const end = x + bytes; x < end; x += 16, q += 4) v128.store(x, mul(s, integers(v128.load32_zero(q))));
}
