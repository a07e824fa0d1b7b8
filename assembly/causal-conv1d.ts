// The reference's bits: the lanes of a vector are channels, and each adds its taps in ascending j, then b, then silu.
//
// Taps: [k][channels]. State: [channels/4][k−1][4 channels], oldest first. Channels go in blocks, whose window of state and
// inputs of one sequence, [k−1 + rows][BLOCK], stays in the cache.
import { CausalConv1d, CausalConv1dI8, STATE_F32 } from '../src/backends/wasm/instruction-formats';
import { dequantizeRow, multiply } from './dequantize';
import { keptBytes, readState, writeState } from './kept-state';
import { add, mul, rowBytes, silu } from './numerics';
import { quantizeColumns } from './quantize';
import { endOf, firstOf, own } from './share';
import { endRow, firstRow, stateOf, turnCount } from './turns';

/** Channels of a block, and their bytes. */
const BLOCK = 64, WIDTH: usize = 256;

export function causalConv1d(at: usize, _rows: i32): void {
  const op = changetype<CausalConv1d>(at), x = op.x, w = op.w, b = op.b, y = op.y, k = op.k, activated = op.activated;
  const type = op.pastType, scales = op.pastScale;
  const row = rowBytes(op.d), past = k - 1, blocks = (op.d + BLOCK - 1) / BLOCK, turns = turnCount();
  for (let block = firstOf(blocks), end = endOf(blocks); block < end; block++)
    for (let turn = 0; turn < turns; turn++) {
      const from = WIDTH * block, bytes = min(WIDTH, row - from), state = stateOf(op.past, turn) + pastBytes(type, past) * (from >> 4);
      const begin = firstRow(turn), stop = endRow(turn);
      readPast(type, state, scales + from, bytes, past);
      for (let t = begin, window = own() + WIDTH * past; t < stop; t++, window += WIDTH) move(window, x + row * t + from, bytes);
      for (let t = begin, window = own(); t < stop; t++, window += WIDTH) {
        convolve(window, w + from, b ? b + from : 0, y + row * t + from, bytes, row, k, activated);
        if (type != STATE_F32) roundNewest(type, window + WIDTH * past, scales + from, bytes);
      }
      writePast(type, state, scales + from, bytes, past, stop - begin);
    }
}

export function causalConv1dI8(at: usize, rows: i32): void {
  const op = changetype<CausalConv1dI8>(at), x = op.x, xScale = op.xScale, xScaleStride = op.xScaleStride, w = op.w, b = op.b;
  const type = op.pastType, scales = op.pastScale, xChannels = op.xChannels, y = op.y, d = op.d, k = op.k, activated = op.activated;
  const row = rowBytes(d), past = k - 1, blocks = (d + BLOCK - 1) / BLOCK, turns = turnCount();
  const tile = own() + WIDTH * (past + rows);
  for (let block = firstOf(blocks), end = endOf(blocks); block < end; block++)
    for (let turn = 0; turn < turns; turn++) {
      const c = BLOCK * block, n = min(BLOCK, d - c), from = WIDTH * block, bytes = min(WIDTH, row - from);
      const state = stateOf(op.past, turn) + pastBytes(type, past) * (from >> 4), begin = firstRow(turn), stop = endRow(turn);
      readPast(type, state, scales + from, bytes, past);
      for (let t = begin, window = own() + WIDTH * past; t < stop; t++, window += WIDTH) {
        dequantizeRow(x + (row >> 2) * t + c, xScale + xScaleStride * t, window, bytes);
        if (xChannels) multiply(window, xChannels + from, bytes);
      }
      for (let t = begin, window = own(); t < stop; t++, window += WIDTH) {
        const to = y ? y + row * t + from : tile;
        convolve(window, w + from, b ? b + from : 0, to, bytes, row, k, activated);
        if (type != STATE_F32) roundNewest(type, window + WIDTH * past, scales + from, bytes);
        if (!y) quantizeColumns(at, at + offsetof<CausalConv1dI8>(), tile, c, n, t, t * d, rows * d);
      }
      writePast(type, state, scales + from, bytes, past, stop - begin);
    }
}

/** The bytes of four channels of the state. */
@inline function pastBytes(type: i32, past: i32): usize { return type == STATE_F32 ? <usize>past << 4 : keptBytes(type, past); }

/** The state of a block of channels into the rows of the window, and the window's last rows back. */
function readPast(type: i32, state: usize, scales: usize, bytes: usize, past: i32): void {
  const each = pastBytes(type, 1);
  for (let c: usize = 0; c < bytes; c += 16)
    for (let t = 0; t < past; t++, state += each) {
      const to = own() + WIDTH * t + c;
      if (type == STATE_F32) v128.store(to, v128.load(state));
      else readState(type, state, scales + c, to, 1);
    }
}
function writePast(type: i32, state: usize, scales: usize, bytes: usize, past: i32, rows: i32): void {
  const each = pastBytes(type, 1);
  for (let c: usize = 0; c < bytes; c += 16)
    for (let t = 0; t < past; t++, state += each) {
      const from = own() + WIDTH * (rows + t) + c;
      if (type == STATE_F32) v128.store(state, v128.load(from));
      else writeState(type, from, scales + c, state, 1);
    }
}

/** An input that is past from now on, as it reads back. Each four values are written over themselves. */
function roundNewest(type: i32, x: usize, scales: usize, bytes: usize): void {
  for (let c: usize = 0; c < bytes; c += 16) {
    writeState(type, x + c, scales + c, x + c, 1);
    readState(type, x + c, scales + c, x + c, 1);
  }
}

/** A loop: a call of memory.copy takes longer than so few bytes (measured). */
function move(to: usize, from: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) v128.store(to + i, v128.load(from + i));
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
