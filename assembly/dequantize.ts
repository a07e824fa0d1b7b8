// The reference's bits: one f32 product for each element, no order to keep.
import { Dequantize } from '../src/backends/wasm/instruction-formats';
import { integers, mul, rowBytes } from './numerics';
import { endOf, firstOf } from './share';

export function dequantize(at: usize, rows: i32): void {
  const op = changetype<Dequantize>(at), scale = op.scale, scaleStride = op.scaleStride, row = rowBytes(op.n);
  let x = op.x + row * firstOf(rows), q = op.q + (row >> 2) * firstOf(rows);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++, x += row, q += row >> 2)
    dequantizeRow(q, scale + scaleStride * t, x, row);
}

/** scale · q, as many as fill `bytes` bytes of x. */
export function dequantizeRow(q: usize, scale: usize, x: usize, bytes: usize): void {
  const s = v128.load32_splat(scale);
  for (const end = x + bytes; x < end; x += 16, q += 4) v128.store(x, mul(s, integers(v128.load32_zero(q))));
}

/** Each of the values by its own of `by`, in place. */
export function multiply(x: usize, by: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) v128.store(x + i, mul(v128.load(x + i), v128.load(by + i)));
}

/** The same for rows of `bytes` bytes, each with its own scale where scaleStride is not 0; then by `channels`, if there are any. */
export function dequantizeRows(
  q: usize, scale: usize, scaleStride: i32, channels: usize, x: usize, bytes: usize, rows: i32,
): void {
  for (let t = 0; t < rows; t++, x += bytes, q += bytes >> 2, scale += scaleStride) {
    dequantizeRow(q, scale, x, bytes);
    if (channels) multiply(x, channels, bytes);
  }
}
