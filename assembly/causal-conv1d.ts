// The reference's bits: the lanes of a vector are channels, and each adds its taps in ascending j, then b, then silu.
//
// Taps: [k][channels]. State: [k−1][channels], oldest first. Channels go in blocks, whose window of state and inputs,
// [k−1 + rows][BLOCK], stays in the cache.
import { real } from './dequantize';
import { add, mul, rowBytes, silu } from './numerics';
import { quantizeRow } from './quantize';
import { first, last, own } from './threads';

/** Channels of a block, and their bytes. */
const BLOCK = 64, WIDTH: usize = 256;

/** b may be 0: none. */
export function causalConv1d(
  rows: i32, x: usize, w: usize, b: usize, state: usize, y: usize, d: i32, k: i32, activated: i32,
): void {
  const row = rowBytes(d), past = k - 1, blocks = (d + BLOCK - 1) / BLOCK;
  for (let block = first(blocks), end = last(blocks); block < end; block++) {
    const at = WIDTH * block, bytes = min(WIDTH, row - at);
    for (let t = 0; t < past; t++) move(own() + WIDTH * t, state + row * t + at, bytes);
    for (let t = 0; t < rows; t++) move(own() + WIDTH * (past + t), x + row * t + at, bytes);
    for (let t = 0; t < rows; t++)
      convolve(own() + WIDTH * t, w + at, b ? b + at : 0, y + row * t + at, bytes, row, k, activated);
    for (let t = 0; t < past; t++) move(state + row * t + at, own() + WIDTH * (rows + t), bytes);
  }
}

/**
 * The same between dequantize and quantize: x and q are int8. `each`: 4 where every row of x has its own scale, 0 where all share
 * one. Before it is quantized, each channel is divided by its own of `channels`, which may be 0: none. q has one scale; where that
 * is 0, `q` is y, f32[rows, d], which is not quantized yet.
 */
export function causalConv1dI8(
  at: usize, rows: i32, x: usize, xscale: usize, each: i32, w: usize, b: usize, state: usize, scale: usize, q: usize, d: i32,
  k: i32, activated: i32, channels: usize,
): void {
  const row = rowBytes(d), past = k - 1, blocks = (d + BLOCK - 1) / BLOCK, tile = own() + WIDTH * (past + rows);
  for (let block = first(blocks), end = last(blocks); block < end; block++) {
    const c = BLOCK * block, n = min(BLOCK, d - c), from = WIDTH * block, bytes = min(WIDTH, row - from);
    for (let t = 0; t < past; t++) move(own() + WIDTH * t, state + row * t + from, bytes);
    for (let t = 0; t < rows; t++) real(x + (row >> 2) * t + c, xscale + each * t, own() + WIDTH * (past + t), bytes);
    for (let t = 0; t < rows; t++) {
      const y = scale ? tile : q + row * t + from;
      convolve(own() + WIDTH * t, w + from, b ? b + from : 0, y, bytes, row, k, activated);
      if (channels) divide(y, channels + from, bytes);
      if (scale) quantizeRow(at, y, scale, q + (row >> 2) * t + c, n, t * d + c);
    }
    for (let t = 0; t < past; t++) move(state + row * t + from, own() + WIDTH * (rows + t), bytes);
  }
}

/** A loop: a call of memory.copy takes longer than so few bytes (measured). */
function move(to: usize, from: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) v128.store(to + i, v128.load(from + i));
}

/** What is divided by the padding of `by` is nobody's. */
function divide(y: usize, by: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) v128.store(y + i, f32x4.div(v128.load(y + i), v128.load(by + i)));
}

function convolve(window: usize, w: usize, b: usize, y: usize, bytes: usize, row: usize, k: i32, activated: i32): void {
  for (let c: usize = 0; c < bytes; c += 16) {
    let sum = mul(v128.load(w + c), v128.load(window + c));
    if (k == 4) { // unrolled: measured
      sum = add(sum, mul(v128.load(w + c + row), v128.load(window + c, 256)));
      sum = add(sum, mul(v128.load(w + c + row * 2), v128.load(window + c, 512)));
      sum = add(sum, mul(v128.load(w + c + row * 3), v128.load(window + c, 768)));
    } else for (let j = 1; j < k; j++) sum = add(sum, mul(v128.load(w + c + row * j), v128.load(window + c + WIDTH * j)));
    if (b) sum = add(sum, v128.load(b + c));
    v128.store(y + c, activated ? silu(sum) : sum);
  }
}
