// The reference's bits: the lanes of a vector are channels. Each channel's four lanes of the sum over n are four vectors,
// each adds its terms in ascending n, and the vectors are added in the reference's order.
//
// h: [d/4][n][4 channels]. A: [d/4][1 + n][4 channels], A · log2 e behind the largest |A · log2 e| of each channel. Channels go
// in blocks that stay in the cache while the rows pass.
import { SelectiveScan, SelectiveScanI8, STATE_F32, STATE_I8_DYNAMIC } from '../src/backends/wasm/instruction-formats';
import { dequantizeRows } from './dequantize';
import { keptBytes, measuredSteps, readState, writeState } from './kept-state';
import * as v from './numerics';
import { add, coefficient, integers, magic, mul, ordinary, rowBytes, splat, sub } from './numerics';
import { endOf, firstOf, own } from './share';
import { endRow, firstRow, stateOf, turnCount } from './turns';

/** Groups of four channels of a block. */
const BLOCK = 16;

/** Own scratch: the decays, four channels' state. */
export function selectiveScan(at: usize, _rows: i32): void {
  const op = changetype<SelectiveScan>(at), u = op.u, dt = op.dt, A = op.A, D = op.D, z = op.z, y = op.y, n = op.n;
  const hType = op.hType, hScale = op.hScale, turns = turnCount();
  const row = rowBytes(op.d), nRow = rowBytes(n), fours = (op.d + 3) >> 2, blocks = (fours + BLOCK - 1) / BLOCK;
  for (let block = firstOf(blocks), end = endOf(blocks); block < end; block++)
    for (let turn = 0; turn < turns; turn++) {
      const h = stateOf(op.h, turn);
      for (let t = firstRow(turn), stop = endRow(turn); t < stop; t++) {
        const B = op.B + nRow * t, C = op.C + nRow * t;
        for (let four = BLOCK * block; four < min(fours, BLOCK * block + BLOCK); four++) {
          const c = <usize>four << 4, i = row * t + c, input = v128.load(u + i), step = v128.load(dt + i);
          let sum = scanKept(step, mul(step, input), A, h, four, fours, B, C, n, hType, hScale);
          if (D) sum = add(sum, mul(v128.load(D + c), input));
          v128.store(y + i, z ? mul(sum, v.silu(v128.load(z + i))) : sum);
        }
      }
    }
}

/**
 * A byte has 256 values, so softplus(dt) and silu(z) are looked up in tables, f32[256] from −128 on. The table of a scale that all
 * rows share is a constant; where each row has its own scale, it is made for each row.
 * Own scratch: the decays, four channels' state, B and C in f32, the tables of each row.
 */
export function selectiveScanI8(at: usize, rows: i32): void {
  const op = changetype<SelectiveScanI8>(at), u = op.u, dt = op.dt, A = op.A, D = op.D, z = op.z, y = op.y, n = op.n;
  const uScale = op.uScale, uScaleStride = op.uScaleStride, channels = op.channels;
  const hType = op.hType, hScale = op.hScale, turns = turnCount();
  const row = rowBytes(op.d), nRow = rowBytes(n), fours = (op.d + 3) >> 2, blocks = (fours + BLOCK - 1) / BLOCK;
  if (firstOf(blocks) == endOf(blocks)) return;
  const B = own() + (<usize>n << 5), C = B + nRow * rows, ownTables = C + nRow * rows;
  dequantizeRows(op.B, op.BScale, op.BScaleStride, 0, B, nRow, rows);
  dequantizeRows(op.C, op.CScale, op.CScaleStride, 0, C, nRow, rows);
  let dtTables = op.dtScale, zTables = op.zScale;
  const dtTableStride = op.dtScaleStride ? TABLE : 0, zTableStride = op.zScaleStride ? TABLE : 0;
  if (dtTableStride) {
    for (let t = 0; t < rows; t++) softplusTable(dtTables + (<usize>t << 2), ownTables + TABLE * t);
    dtTables = ownTables;
  }
  if (zTableStride) {
    const to = ownTables + dtTableStride * rows;
    for (let t = 0; t < rows; t++) siluTable(zTables + (<usize>t << 2), to + TABLE * t);
    zTables = to;
  }
  for (let block = firstOf(blocks), end = endOf(blocks); block < end; block++)
    for (let turn = 0; turn < turns; turn++) {
      const h = stateOf(op.h, turn);
      for (let t = firstRow(turn), stop = endRow(turn); t < stop; t++) {
        const s = v128.load32_splat(uScale + uScaleStride * t), dtTable = dtTables + dtTableStride * t, zTable = zTables + zTableStride * t;
        for (let four = BLOCK * block; four < min(fours, BLOCK * block + BLOCK); four++) {
          const c = <usize>four << 2, i = (row >> 2) * t + c;
          const step = lookup(dt + i, dtTable);
          let input = mul(s, integers(v128.load32_zero(u + i)));
          if (channels) input = mul(input, v128.load(channels + (c << 2)));
          let sum = scanKept(step, mul(step, input), A, h, four, fours, B + nRow * t, C + nRow * t, n, hType, hScale);
          if (D) sum = add(sum, mul(v128.load(D + (c << 2)), input));
          v128.store(y + (i << 2), z ? mul(sum, lookup(z + i, zTable)) : sum);
        }
      }
    }
}

const TABLE: usize = 1024;

/** The values of a function at scale · q, for q from −128 on. */
function softplusTable(scale: usize, to: usize): void {
  const s = v128.load32_splat(scale), end = to + TABLE;
  for (let q = f32x4(-128, -127, -126, -125); to < end; to += 16, q = add(q, splat(4))) v128.store(to, v.softplus(mul(s, q)));
}
function siluTable(scale: usize, to: usize): void {
  const s = v128.load32_splat(scale), end = to + TABLE;
  for (let q = f32x4(-128, -127, -126, -125); to < end; to += 16, q = add(q, splat(4))) v128.store(to, v.silu(mul(s, q)));
}

/** The table's values of four int8. */
@inline function lookup(q: usize, table: usize): v128 {
  const mid = table + 512;
  let x = v128.load32_zero(mid + (<isize>load<i8>(q) << 2));
  x = v128.load32_lane(mid + (<isize>load<i8>(q, 1) << 2), x, 1);
  x = v128.load32_lane(mid + (<isize>load<i8>(q, 2) << 2), x, 2);
  return v128.load32_lane(mid + (<isize>load<i8>(q, 3) << 2), x, 3);
}

/** Group `four` of four channels. A state that is not kept in f32 is read into own scratch behind the decays. */
@inline function scanKept(
  step: v128, input: v128, A: usize, h: usize, four: i32, fours: i32, B: usize, C: usize, n: i32, hType: i32, hScale: usize,
): v128 {
  const decays = A + ((<usize>n + 1) << 4) * four;
  if (hType == STATE_F32) return scan(step, input, decays, h + (<usize>n << 4) * four, B, C, n);
  const state = own() + (<usize>n << 4), kept = h + keptBytes(hType, n) * four;
  const scales = (hType == STATE_I8_DYNAMIC ? h + keptBytes(hType, n) * fours : hScale) + (<usize>four << 4);
  readState(hType, kept, scales, state, n);
  const sum = scan(step, input, decays, state, B, C, n);
  if (hType == STATE_I8_DYNAMIC) v128.store(scales, measuredSteps(state, n));
  writeState(hType, state, scales, kept, n);
  return sum;
}

/** Four channels. Own scratch: their n decays. */
function scan(step: v128, input: v128, a: usize, h: usize, B: usize, C: usize, n: i32): v128 {
  const bounded = f32x4.le(mul(f32x4.abs(step), v128.load(a)), ordinary()); // rounding is monotone; false for NaN
  a += 16;
  if (i32x4.all_true(bounded) && !(n & 3)) for (let s = 0, to = own(); s < n; s += 4, a += 64, to += 64) decay4(step, a, to);
  else for (let s = 0, to = own(); s < n; s++, a += 16, to += 16) v128.store(to, v.exp2(mul(step, v128.load(a))));
  let s0 = splat(0), s1 = s0, s2 = s0, s3 = s0, s = 0, decay = own();
  for (; s + 4 <= n; s += 4, decay += 64, h += 64, B += 16, C += 16) {
    let p = add(mul(v128.load(decay), v128.load(h)), mul(input, v128.load32_splat(B)));
    v128.store(h, p);
    s0 = add(s0, mul(p, v128.load32_splat(C)));
    p = add(mul(v128.load(decay, 16), v128.load(h, 16)), mul(input, v128.load32_splat(B, 4)));
    v128.store(h, p, 16);
    s1 = add(s1, mul(p, v128.load32_splat(C, 4)));
    p = add(mul(v128.load(decay, 32), v128.load(h, 32)), mul(input, v128.load32_splat(B, 8)));
    v128.store(h, p, 32);
    s2 = add(s2, mul(p, v128.load32_splat(C, 8)));
    p = add(mul(v128.load(decay, 48), v128.load(h, 48)), mul(input, v128.load32_splat(B, 12)));
    v128.store(h, p, 48);
    s3 = add(s3, mul(p, v128.load32_splat(C, 12)));
  }
  for (; s < n; s++, decay += 16, h += 16, B += 4, C += 4) {
    const p = add(mul(v128.load(decay), v128.load(h)), mul(input, v128.load32_splat(B)));
    v128.store(h, p);
    const term = mul(p, v128.load32_splat(C));
    if ((s & 3) == 0) s0 = add(s0, term);
    else if ((s & 3) == 1) s1 = add(s1, term);
    else s2 = add(s2, term);
  }
  return add(add(s0, s2), add(s1, s3));
}

/** exp2 of four ordinary vectors, side by side, because V8 does not interleave them (measured: 2 ×). */
@inline function decay4(step: v128, a: usize, to: usize): void {
  const shift = magic();
  const x0 = mul(step, v128.load(a)), x1 = mul(step, v128.load(a, 16));
  const x2 = mul(step, v128.load(a, 32)), x3 = mul(step, v128.load(a, 48));
  const m0 = add(x0, shift), m1 = add(x1, shift), m2 = add(x2, shift), m3 = add(x3, shift);
  const r0 = sub(x0, sub(m0, shift)), r1 = sub(x1, sub(m1, shift));
  const r2 = sub(x2, sub(m2, shift)), r3 = sub(x3, sub(m3, shift));
  let p0 = coefficient(0), p1 = p0, p2 = p0, p3 = p0, k = coefficient(1);
  p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
  k = coefficient(2);
  p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
  k = coefficient(3);
  p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
  k = coefficient(4);
  p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
  k = coefficient(5);
  p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
  k = coefficient(6);
  p0 = add(mul(p0, r0), k); p1 = add(mul(p1, r1), k); p2 = add(mul(p2, r2), k); p3 = add(mul(p3, r3), k);
  v128.store(to, i32x4.add(p0, i32x4.shl(m0, 23)));
  v128.store(to, i32x4.add(p1, i32x4.shl(m1, 23)), 16);
  v128.store(to, i32x4.add(p2, i32x4.shl(m2, 23)), 32);
  v128.store(to, i32x4.add(p3, i32x4.shl(m3, 23)), 48);
}
