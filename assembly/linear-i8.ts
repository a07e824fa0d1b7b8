// The reference's bits: int32 sums are exact in any order; then for each group, in ascending order, the same two products
// and one sum in f32, and last the bias.
//
// First x is packed as the product reads it (see tiles-i8.ts), then every thread takes its tiles of 16 rows of w: in decode with
// one row of x at a time, in prefill with a block of ROWS. A single row is packed by each thread for itself: that takes less time than to
// wait until another thread has done it.
import { LinearI8, PackI8 } from '../src/backends/wasm/instruction-formats';
import { add, mul, rowBytes, zero } from './numerics';
import { quantizeColumns } from './quantize';
import { endOf, firstOf, own } from './share';
import { even, firstBytes, HEAD, k16, odd, product, tileBytes, withOffset } from './tiles-i8';

/**
 * Rows of x that are multiplied at once. The engine's own product takes as many as there are registers for: each sum waits for the one
 * before, and eight sums are too few to fill that time (on a Xeon six rows are 1.2 times as fast as four, measured).
 */
const ROWS = ASC_FEATURE_RELAXED_SIMD ? 6 : 4;
@inline export function blocksOf(rows: i32): i32 { return (rows + ROWS - 1) / ROWS; }

// Own scratch for one row: the sums of a tile, the tile of y, the packed row. For more rows: the sums i32[2][blocks][ROWS][8],
// 16 rows of w as i16 in the plain module, the tile of each row of y.
@inline export function tileOf(rows: i32): usize {
  return own() + (rows == 1 ? 64 : (halfOf(rows) << 1) + (ASC_FEATURE_RELAXED_SIMD ? 0 : WIDE << 5));
}
/** The bytes of the sums of eight rows of w by all rows of x. */
@inline export function halfOf(rows: i32): usize { return <usize>(blocksOf(rows) * ROWS) << 5; }
@inline function packedRow(): usize { return own() + 128; }

/** The bytes of a packed group of one row of x: its correction, then the values. */
@inline function rowGroup(run: i32): usize { return 16 + ((<usize>k16(run)) << 1); }
/** Of a block. */
@inline export function blockGroup(run: i32): usize { return <usize>k16(run) * (ASC_FEATURE_RELAXED_SIMD ? ROWS : 2 * ROWS); }

/** x i8[rows, i] → packed: [blocks][groups]. */
export function packI8(at: usize, rows: i32): void {
  const op = changetype<PackI8>(at), groups = op.groups, run = op.i / groups;
  const row = rowBytes(op.i) >> 2, blocks = blocksOf(rows), bytes = blockGroup(run) * groups;
  for (let block = firstOf(blocks), end = endOf(blocks); block < end; block++)
    for (let g = 0; g < groups; g++) {
      const x = op.x + row * (block * ROWS) + g * run, to = op.packed + bytes * block + blockGroup(run) * g;
      packBlock(x, row, rows - block * ROWS - 1, to, run);
    }
}

function packRow(x: usize, to: usize, run: i32): void {
  let sum = zero();
  const correction = to;
  to += 16;
  for (let k = 0; k < run; k += 16) {
    const v = firstBytes(v128.load(x + k), run - k);
    if (ASC_FEATURE_RELAXED_SIMD) {
      v128.store(to, withOffset(v));
      to += 16;
    } else {
      const e = even(v);
      const d = i16x8.sub(i16x8.sub(odd(v), i16x8.splat(128)), i16x8.shl(e, 8));
      sum = i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(e));
      v128.store(to, v128.shuffle<i32>(e, d, 0, 4, 1, 5));
      v128.store(to, v128.shuffle<i32>(e, d, 2, 6, 3, 7), 16);
      to += 32;
    }
  }
  sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
  sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 1, 0, 3, 2));
  v128.store(correction, i32x4.neg(i32x4.shl(sum, 7)));
}

/** Four k of every row, then the next four; the plain module has the even ones as i16, then the odd ones. Where rows are missing, the last one is repeated. */
function packBlock(x: usize, row: usize, others: i32, to: usize, run: i32): void {
  const b = row * min(1, others), c = row * min(2, others), d = row * min(3, others);
  for (let k = 0; k < run; k += 16, x += 16, to += blockGroup(16)) {
    const left = run - k;
    const v0 = firstBytes(v128.load(x), left), v1 = firstBytes(v128.load(x + b), left);
    const v2 = firstBytes(v128.load(x + c), left), v3 = firstBytes(v128.load(x + d), left);
    if (ASC_FEATURE_RELAXED_SIMD) {
      transpose(withOffset(v0), withOffset(v1), withOffset(v2), withOffset(v3), to, STEP);
      const v4 = withOffset(firstBytes(v128.load(x + row * min(4, others)), left));
      const v5 = withOffset(firstBytes(v128.load(x + row * min(5, others)), left));
      const low = v128.shuffle<i32>(v4, v5, 0, 4, 1, 5), high = v128.shuffle<i32>(v4, v5, 2, 6, 3, 7);
      v128.store64_lane(to, low, 0, 16); v128.store64_lane(to + STEP, low, 1, 16);
      v128.store64_lane(to + 2 * STEP, high, 0, 16); v128.store64_lane(to + 3 * STEP, high, 1, 16);
    } else {
      transpose(even(v0), even(v1), even(v2), even(v3), to, 32);
      transpose(odd(v0), odd(v1), odd(v2), odd(v3), to + 16, 32);
    }
  }
}

@inline function transpose(a: v128, b: v128, c: v128, d: v128, to: usize, step: usize): void {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const AB = v128.shuffle<i32>(a, b, 2, 6, 3, 7), CD = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(to + step, v128.shuffle<i64>(ab, cd, 1, 3));
  v128.store(to + step * 2, v128.shuffle<i64>(AB, CD, 0, 2));
  v128.store(to + step * 3, v128.shuffle<i64>(AB, CD, 1, 3));
}

/** A single row is read from x, more rows from what packI8 made of them. wScale: [o/16][groups][16 rows]. */
export function linearI8(at: usize, rows: i32): void {
  const op = changetype<LinearI8>(at), xScale = op.xScale, xScaleStride = op.xScaleStride, b = op.b, groups = op.groups;
  const o = op.o, isQuantized = !op.y;
  const tiles = (o + 15) >> 4, from = firstOf(tiles), to = endOf(tiles), run = op.i / groups;
  const half = halfOf(rows), values = tileOf(rows);
  const yStride = isQuantized ? <usize>64 : rowBytes(o);
  let w = op.w + tileBytes(run) * groups * from;
  if (rows == 1 && from < to)
    for (let g = 0; g < groups; g++) packRow(op.x + run * g, packedRow() + rowGroup(run) * g, run);
  for (let tile = from; tile < to; tile++) {
    const n = <usize>tile << 6, columns = min(16, o - (tile << 4)), bytes = rowBytes(columns);
    const y = isQuantized ? values : op.y + n;
    for (let g = 0; g < groups; g++, w += tileBytes(run)) {
      const scales = op.wScale + (<usize>(tile * groups + g) << 6), bias = b != 0 && g + 1 == groups ? b + n : 0;
      if (rows == 1) {
        dot1x16(w, packedRow() + rowGroup(run) * g, (run + 3) >> 2, own());
        store16(own(), 0, xScale, scales, bias, y, bytes, g > 0);
      } else {
        multiply(w, op.packed + blockGroup(run) * g, blockGroup(run) * groups, rows, run);
        for (let t = 0; t < rows; t++)
          store16(own() + (<usize>t << 5), half - 32, xScale + xScaleStride * t, scales, bias, y + yStride * t, bytes, g > 0);
      }
    }
    if (isQuantized) for (let t = 0; t < rows; t++) quantizeTile(at, values + yStride * t, tile << 4, columns, t, rows, o);
  }
}

/** Columns of row t, each to its segment of the instruction at `at`. A NaN's index is in [segment][row][column]. */
export function quantizeTile(at: usize, values: usize, column: i32, columns: i32, t: i32, rows: i32, o: i32): void {
  quantizeColumns(at, at + offsetof<LinearI8>(), values, column, columns, t, t * o, rows * o);
}

/** Adds the products of four k of four rows: `v` is a quarter of a cache line of w. */
@inline function multiplyAdd(sum: v128, v: v128, x0: v128, x1: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return product(sum, v, x0);
  return i32x4.add(sum, i32x4.add(i32x4.dot_i16x8_s(v, x0), i32x4.dot_i16x8_s(odd(v), x1))); // one sum depends on the one before, not two: measured
}

/** The sums of sixteen rows of w by one row of x, i32. */
function dot1x16(w: usize, x: usize, k4: i32, sums: usize): void {
  const step: usize = ASC_FEATURE_RELAXED_SIMD ? 4 : 8; // bytes of x for 4 k
  const correction = v128.load(x);
  let a = i32x4.add(v128.load(w), correction), b = i32x4.add(v128.load(w, 16), correction);
  let c = i32x4.add(v128.load(w, 32), correction), d = i32x4.add(v128.load(w, 48), correction);
  x += 16;
  w += HEAD;
  const end = w + (<usize>k4 << 6);
  do {
    const p = v128.load32_splat(x), q = ASC_FEATURE_RELAXED_SIMD ? p : v128.load32_splat(x, 4);
    a = multiplyAdd(a, v128.load(w), p, q);
    b = multiplyAdd(b, v128.load(w, 16), p, q);
    c = multiplyAdd(c, v128.load(w, 32), p, q);
    d = multiplyAdd(d, v128.load(w, 48), p, q);
    w += 64;
    x += step;
  } while (w < end);
  v128.store(sums, a); v128.store(sums, b, 16); v128.store(sums, c, 32); v128.store(sums, d, 48);
}

/** int32 sums to f32, times the scales: `bytes` of a tile of y. `isAdded`: to what is there. b may be 0: none. */
@inline export function store16(
  sums: usize, gap: usize, xScale: usize, wScale: usize, b: usize, y: usize, bytes: usize, isAdded: bool,
): void {
  const s = v128.load32_splat(xScale);
  for (let n: usize = 0; n < bytes; n += 16) {
    let sum = mul(f32x4.convert_i32x4_s(v128.load(sums + n + (n & 32 ? gap : 0))), mul(s, v128.load(wScale + n)));
    if (isAdded) sum = add(v128.load(y + n), sum);
    v128.store(y + n, b ? add(sum, v128.load(b + n)) : sum);
  }
}

/** How many k of w are widened at once: eight rows of so many stay in the first cache. */
export const WIDE = 1280;

/** The sums of a tile for all rows of x, of which every block is `size` bytes. */
export function multiply(w: usize, x: usize, size: usize, rows: i32, run: i32): void {
  const half = halfOf(rows), end = own() + half, panel = end + half;
  if (ASC_FEATURE_RELAXED_SIMD) {
    startSums(w, half);
    for (let sums = own(); sums < end; sums += SUMS, x += size) {
      dot6x8(w + HEAD, x, sums, (run + 3) >> 2);
      dot6x8(w + HEAD + 32, x, sums + half, (run + 3) >> 2);
    }
  } else {
    memory.fill(own(), 0, half << 1);
    for (let k = 0; k < run; k += WIDE) {
      const k4 = (min(WIDE, run - k) + 3) >> 2;
      widen(w + HEAD + (<usize>k << 4), panel, k4);
      for (let h: usize = 0; h < 2; h++)
        for (let sums = own(), four = x + (<usize>k << 3); sums < end; sums += SUMS, four += size)
          dot4x8(panel + h * (<usize>k4 << 6), four, sums + half * h, k4);
    }
  }
}

/** 16 rows of w as i16, first 8 and then 8: for each 4 k the even pairs of the eight, then the odd ones. */
function widen(w: usize, panel: usize, k4: i32): void {
  const bias = i16x8.splat(128), low = i16x8.splat(0xff);
  let second = panel + (<usize>k4 << 6);
  for (const end = w + (<usize>k4 << 6); w < end; w += 64, panel += 64, second += 64) {
    const a = v128.load(w), b = v128.load(w, 16), c = v128.load(w, 32), d = v128.load(w, 48);
    v128.store(panel, i16x8.sub(v128.and(a, low), bias)); v128.store(panel, i16x8.sub(v128.and(b, low), bias), 16);
    v128.store(panel, odd(a), 32); v128.store(panel, odd(b), 48);
    v128.store(second, i16x8.sub(v128.and(c, low), bias)); v128.store(second, i16x8.sub(v128.and(d, low), bias), 16);
    v128.store(second, odd(c), 32); v128.store(second, odd(d), 48);
  }
}

/** The bytes of the sums of a block, and of four k of it as the engine's product reads them. */
const SUMS: usize = ROWS << 5, STEP: usize = ROWS << 2;

// Short functions of their own: V8 compiles them well.

/** Adds the products of eight rows of w by four rows of x to their sums, two k at a time, as i16. */
function dot4x8(w: usize, x: usize, sums: usize, k4: i32): void {
  let a = v128.load(sums), A = v128.load(sums, 16), b = v128.load(sums, 32), B = v128.load(sums, 48);
  let c = v128.load(sums, 64), C = v128.load(sums, 80), d = v128.load(sums, 96), D = v128.load(sums, 112);
  const end = w + (<usize>k4 << 6);
  do {
    const p = v128.load(w), q = v128.load(w, 16);
    let s = v128.load32_splat(x);
    a = product(a, p, s); A = product(A, q, s);
    s = v128.load32_splat(x, 4);
    b = product(b, p, s); B = product(B, q, s);
    s = v128.load32_splat(x, 8);
    c = product(c, p, s); C = product(C, q, s);
    s = v128.load32_splat(x, 12);
    d = product(d, p, s); D = product(D, q, s);
    w += 32;
    x += 16;
  } while (w < end);
  v128.store(sums, a); v128.store(sums, A, 16); v128.store(sums, b, 32); v128.store(sums, B, 48);
  v128.store(sums, c, 64); v128.store(sums, C, 80); v128.store(sums, d, 96); v128.store(sums, D, 112);
}

/** By six rows of x, four k at a time, as they are. */
function dot6x8(w: usize, x: usize, sums: usize, k4: i32): void {
  let a = v128.load(sums), A = v128.load(sums, 16), b = v128.load(sums, 32), B = v128.load(sums, 48);
  let c = v128.load(sums, 64), C = v128.load(sums, 80), d = v128.load(sums, 96), D = v128.load(sums, 112);
  let e = v128.load(sums, 128), E = v128.load(sums, 144), f = v128.load(sums, 160), F = v128.load(sums, 176);
  const end = w + (<usize>k4 << 6);
  do {
    const p = v128.load(w), q = v128.load(w, 16);
    let s = v128.load32_splat(x);
    a = product(a, p, s); A = product(A, q, s);
    s = v128.load32_splat(x, 4);
    b = product(b, p, s); B = product(B, q, s);
    s = v128.load32_splat(x, 8);
    c = product(c, p, s); C = product(C, q, s);
    s = v128.load32_splat(x, 12);
    d = product(d, p, s); D = product(D, q, s);
    s = v128.load32_splat(x, 16);
    e = product(e, p, s); E = product(E, q, s);
    s = v128.load32_splat(x, 20);
    f = product(f, p, s); F = product(F, q, s);
    w += 64;
    x += STEP;
  } while (w < end);
  v128.store(sums, a); v128.store(sums, A, 16); v128.store(sums, b, 32); v128.store(sums, B, 48);
  v128.store(sums, c, 64); v128.store(sums, C, 80); v128.store(sums, d, 96); v128.store(sums, D, 112);
  v128.store(sums, e, 128); v128.store(sums, E, 144); v128.store(sums, f, 160); v128.store(sums, F, 176);
}

/** The sums of a tile begin with the rows' i32, for every row of x. */
function startSums(w: usize, half: usize): void {
  const a = v128.load(w), b = v128.load(w, 16), c = v128.load(w, 32), d = v128.load(w, 48);
  for (let sums = own(), end = sums + half; sums < end; sums += 32) {
    v128.store(sums, a); v128.store(sums, b, 16);
    v128.store(sums + half, c); v128.store(sums + half, d, 16);
  }
}
