// The reference's bits: the lanes of a vector are four states, and so the four lanes of the sum are one vector, to which terms
// are added in ascending n.
//
// S: [h][p/4][n/4][4 channels][4 states], which is read from front to back: measured. A tile of a head's channels stays in the
// first cache while the rows pass.
import { SsdScan, SsdSteps, STATE_F32, STATE_I8_DYNAMIC } from '../src/backends/wasm/instruction-formats';
import { dequantizeRow, dequantizeRows, multiply } from './dequantize';
import { keptBytes, readSquares, roundSquares, writeSquares } from './kept-state';
import { add, exp2, integers, lastLanes, mul, rowBytes, softplus, splat, sumLanes } from './numerics';
import { endOf, firstOf, own } from './share';
import { endRow, firstRow, stateOf, turnCount } from './turns';

/** Channels of a tile: with 128 states, 8 KB of a head's state. */
const TILE = 16;

/** A: A · log2 e. */
export function ssdSteps(at: usize, rows: i32): void {
  const op = changetype<SsdSteps>(at), dt = op.dt, dtScale = op.dtScale, dtChannels = op.dtChannels, bias = op.bias, A = op.A;
  const row = rowBytes(op.h), lo = splat(op.lo), hi = splat(op.hi);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) {
    const steps = op.steps + row * t, decays = op.steps + row * (rows + t);
    let raw = dt + row * t;
    if (dtScale) {
      raw = steps;
      dequantizeRow(dt + (row >> 2) * t, dtScale + op.dtScaleStride * t, raw, row);
      if (dtChannels) multiply(raw, dtChannels, row);
    }
    for (let i: usize = 0; i < row; i += 16) {
      let x = v128.load(raw + i);
      if (bias) x = add(x, v128.load(bias + i));
      const step = f32x4.min(f32x4.max(softplus(x), lo), hi); // NaN stays NaN
      v128.store(steps + i, step);
      v128.store(decays + i, exp2(mul(step, v128.load(A + i))));
    }
  }
}

/** Own scratch: the channels of a tile of a state that is not kept in f32; then B and C in f32, where they are i8. */
export function ssdScan(at: usize, rows: i32): void {
  const op = changetype<SsdScan>(at), x = op.x, xScale = op.xScale, xScaleStride = op.xScaleStride, xChannels = op.xChannels;
  const D = op.D, y = op.y, heads = op.heads, p = op.p, n = op.n, groups = op.groups, hType = op.hType, hScale = op.hScale;
  const row = rowBytes(heads * p), hRow = rowBytes(heads), nRow = rowBytes(groups * n), turns = turnCount();
  const fours = (p + 3) >> 2, isKept = hType != STATE_F32;
  const tile = hType == STATE_I8_DYNAMIC ? fours : TILE / 4, tiles = (fours + tile - 1) / tile; // a step is that of all channels
  const units = heads * tiles, from = firstOf(units), to = endOf(units);
  if (from == to) return;
  const f32Four = <usize>n << 4, four = isKept ? keptBytes(hType, n) : f32Four;
  let B = op.B, C = op.C, free = isKept ? own() + f32Four * tile : own();
  if (op.BScale) {
    dequantizeRows(B, op.BScale, op.BScaleStride, op.BChannels, free, nRow, rows);
    B = free;
    free += nRow * rows;
  }
  if (op.CScale) {
    dequantizeRows(C, op.CScale, op.CScaleStride, op.CChannels, free, nRow, rows);
    C = free;
  }
  for (let unit = from; unit < to; unit++) {
    const head = unit / tiles, first = (unit % tiles) * tile, end = min(fours, first + tile);
    const group = <usize>(head * groups / heads) * n << 2, steps = op.steps + (<usize>head << 2), decays = steps + hRow * rows;
    const skip = D ? v128.load32_splat(D + (<usize>head << 2)) : splat(0);
    for (let turn = 0; turn < turns; turn++) {
      const place = stateOf(op.h, turn), S = place + four * (fours * head + first), states = isKept ? own() : S;
      const scales = (hType == STATE_I8_DYNAMIC ? place + four * fours * heads : hScale) + (<usize>(head * n) << 2);
      if (isKept) for (let q = 0; q < end - first; q++) readSquares(hType, S + four * q, scales, states + f32Four * q, n);
      for (let t = firstRow(turn), stop = endRow(turn); t < stop; t++) {
        const step = v128.load32_splat(steps + hRow * t), decay = v128.load32_splat(decays + hRow * t);
        const b = B + nRow * t + group, c = C + nRow * t + group;
        for (let q = first; q < end; q++) {
          const channel = head * p + (q << 2), missing = max(0, (q << 2) + 4 - p), i = row * t + (<usize>channel << 2);
          let input: v128;
          if (xScale) {
            input = mul(v128.load32_splat(xScale + xScaleStride * t), integers(v128.load32_zero(x + (row >> 2) * t + channel)));
            if (xChannels) input = mul(input, v128.load(xChannels + (<usize>channel << 2)));
          } else input = v128.load(x + i);
          if (missing) input = v128.and(input, lastLanes(4 - missing)); // the next head's channels
          let sum = scan(decay, mul(step, input), states + f32Four * (q - first), b, c, n);
          if (D) sum = add(sum, mul(skip, input));
          if (missing) storeFirst(y + i, sum, 4 - missing);
          else v128.store(y + i, sum);
        }
        if (isKept) roundSquares(hType, states, scales, n, end - first);
      }
      if (isKept) for (let q = 0; q < end - first; q++) writeSquares(hType, states + f32Four * q, scales, S + four * q, n);
    }
  }
}

/** Four channels of one row: their states, each n values, become those after it. Their sums over the states. */
function scan(decay: v128, input: v128, S: usize, B: usize, C: usize, n: i32): v128 {
  const x0 = v128.shuffle<f32>(input, input, 0, 0, 0, 0), x1 = v128.shuffle<f32>(input, input, 1, 1, 1, 1);
  const x2 = v128.shuffle<f32>(input, input, 2, 2, 2, 2), x3 = v128.shuffle<f32>(input, input, 3, 3, 3, 3);
  let s0 = splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (const end = B + (<usize>n << 2); B < end; B += 16, C += 16, S += 64) {
    const b = v128.load(B), c = v128.load(C);
    const p0 = add(mul(decay, v128.load(S)), mul(x0, b));
    v128.store(S, p0);
    s0 = add(s0, mul(p0, c));
    const p1 = add(mul(decay, v128.load(S, 16)), mul(x1, b));
    v128.store(S, p1, 16);
    s1 = add(s1, mul(p1, c));
    const p2 = add(mul(decay, v128.load(S, 32)), mul(x2, b));
    v128.store(S, p2, 32);
    s2 = add(s2, mul(p2, c));
    const p3 = add(mul(decay, v128.load(S, 48)), mul(x3, b));
    v128.store(S, p3, 48);
    s3 = add(s3, mul(p3, c));
  }
  return sumLanes(s0, s1, s2, s3);
}

/** The first values of a vector, one to three. */
function storeFirst(to: usize, x: v128, count: i32): void {
  v128.store32_lane(to, x, 0);
  if (count > 1) v128.store32_lane(to + 4, x, 1);
  if (count > 2) v128.store32_lane(to + 8, x, 2);
}
