// The reference's bits: int32 sums are exact in any order; then for each group, in ascending order, the same two products
// and one sum in f32, and last the bias.
//
// First x is packed as the product reads it (see tiles-i8.ts), then every thread takes its tiles of 16 rows of w: in decode with
// one row of x at a time, in prefill with four. A single row is packed by each thread for itself: that takes less time than to
// wait until another thread has done it.
import { LinearI8, PackI8 } from '../src/backends/wasm/instruction-formats';
import { add, mul, rowBytes, zero } from './numerics';
import { quantizeColumns } from './quantize';
import { endOf, firstOf, own } from './share';
import { even, firstBytes, HEAD, k16, odd, product, tileBytes, withOffset } from './tiles-i8';

// Own scratch for one row: the sums of a tile, the tile of y, the packed row. For more rows: the sums i32[2][rows/4][4][8],
// 16 rows of w as i16, the tile of each row of y.
@inline export function tileOf(fours: i32, rows: i32): usize { return own() + (rows == 1 ? 64 : (<usize>fours << 8) + (WIDE << 5)); }
@inline function packedRow(): usize { return own() + 128; }

/** The bytes of a packed group of one row of x: its correction, then the values. */
@inline function rowGroup(run: i32): usize { return 16 + ((<usize>k16(run)) << 1); }
/** Of four rows. */
@inline export function fourGroup(run: i32): usize { return (<usize>k16(run)) << 3; }

/** x i8[rows, i] → packed: [rows/4][groups] of four rows. */
export function packI8(at: usize, rows: i32): void {
  const op = changetype<PackI8>(at), groups = op.groups, run = op.i / groups;
  const row = rowBytes(op.i) >> 2, fours = (rows + 3) >> 2, bytes = fourGroup(run) * groups;
  for (let four = firstOf(fours), end = endOf(fours); four < end; four++)
    for (let g = 0; g < groups; g++) {
      const x = op.x + row * (four << 2) + g * run, to = op.packed + bytes * four + fourGroup(run) * g;
      const others = rows - (four << 2) - 1; // where rows are missing, the last one is repeated
      packFour(x, row * min(1, others), row * min(2, others), row * min(3, others), to, run);
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

/** Four rows, of which the others lie b, c and d bytes behind the first: for each 4 k the even pairs of all, then the odd ones. */
function packFour(x: usize, b: usize, c: usize, d: usize, to: usize, run: i32): void {
  for (let k = 0; k < run; k += 16, x += 16) {
    const left = run - k;
    const v0 = firstBytes(v128.load(x), left), v1 = firstBytes(v128.load(x + b), left);
    const v2 = firstBytes(v128.load(x + c), left), v3 = firstBytes(v128.load(x + d), left);
    if (ASC_FEATURE_RELAXED_SIMD) {
      transpose(withOffset(v0), withOffset(v1), withOffset(v2), withOffset(v3), to, 16);
      to += 64;
    } else {
      transpose(even(v0), even(v1), even(v2), even(v3), to, 32);
      transpose(odd(v0), odd(v1), odd(v2), odd(v3), to + 16, 32);
      to += 128;
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
  const fours = (rows + 3) >> 2, half = <usize>fours << 7, values = tileOf(fours, rows);
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
        multiply(w, op.packed + fourGroup(run) * g, fourGroup(run) * groups, fours, run);
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
  const STEP: usize = ASC_FEATURE_RELAXED_SIMD ? 4 : 8; // bytes of x for 4 k
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
    x += STEP;
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

/** The sums of a tile for all rows of x, of which every four are `four` bytes. */
export function multiply(w: usize, x: usize, four: usize, fours: i32, run: i32): void {
  const half = <usize>fours << 7, panel = own() + (half << 1);
  if (ASC_FEATURE_RELAXED_SIMD) {
    startSums(w, fours, half);
    for (let f = 0; f < fours; f++) {
      dot4x8(w + HEAD, x + four * f, own() + (<usize>f << 7), (run + 3) >> 2);
      dot4x8(w + HEAD + 32, x + four * f, own() + half + (<usize>f << 7), (run + 3) >> 2);
    }
  } else {
    memory.fill(own(), 0, half << 1);
    for (let k = 0; k < run; k += WIDE) {
      const k4 = (min(WIDE, run - k) + 3) >> 2;
      widen(w + HEAD + (<usize>k << 4), panel, k4);
      for (let h: usize = 0; h < 2; h++)
        for (let f = 0; f < fours; f++)
          dot4x8(panel + h * (<usize>k4 << 6), x + four * f + (<usize>k << 3), own() + half * h + (<usize>f << 7), k4);
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

/** The bytes of w that one step of `dot4x8` reads: two k as i16, or four as they are. */
const STRIDE: usize = ASC_FEATURE_RELAXED_SIMD ? 64 : 32;

/** Adds the products of eight rows of w by four rows of x to their sums. A short function of its own: V8 compiles it well. */
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
    w += STRIDE;
    x += 16;
  } while (w < end);
  v128.store(sums, a); v128.store(sums, A, 16); v128.store(sums, b, 32); v128.store(sums, B, 48);
  v128.store(sums, c, 64); v128.store(sums, C, 80); v128.store(sums, d, 96); v128.store(sums, D, 112);
}

/** The sums of a tile begin with the rows' i32, for every row of x. */
function startSums(w: usize, fours: i32, half: usize): void {
  const a = v128.load(w), b = v128.load(w, 16), c = v128.load(w, 32), d = v128.load(w, 48);
  for (let sums = own(), end = sums + half; sums < end; sums += 32) {
    v128.store(sums, a); v128.store(sums, b, 16);
    v128.store(sums + half, c); v128.store(sums + half, d, 16);
  }
}
