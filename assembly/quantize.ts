// The reference's bits: a real division, the clamp, and the same addition of 1.5 · 2²³, which rounds half to even.
import { scaleOfRow } from './absmax-scale';
import { add, highestI8, lastLanes, lowestI8, magic, rowBytes, zero } from './numerics';
import { fail, first, last } from './threads';

/** `stride`: bytes from one row of x to the next. `each`: 4 where every row has its own scale, 0 where all share one. */
export function quantize(at: usize, rows: i32, x: usize, stride: usize, scale: usize, each: i32, q: usize, n: i32): void {
  const row = rowBytes(n) >> 2;
  for (let t = first(rows), end = last(rows); t < end; t++)
    quantizeRow(at, x + stride * t, scale + each * t, q + row * t, n, t * n);
}

/**
 * Columns of x, in segments that lie side by side, each to a tensor of its own. A segment is four i32: its end, its scale, `each`,
 * q. `each` is 4 where the scale of a row is measured, and written to scale[row], and 0 where all rows share the one that is there.
 */
export function quantizeSegments(at: usize, rows: i32, x: usize, width: i32, count: i32, segments: usize): void {
  const stride = rowBytes(width);
  for (let t = first(rows), end = last(rows); t < end; t++) {
    let begin = 0;
    for (let s = 0; s < count; s++) {
      const segment = segments + (<usize>s << 4), n = load<i32>(segment) - begin;
      const q = load<usize>(segment, 12) + (rowBytes(n) >> 2) * t;
      quantizeOwn(at, x + stride * t + (<usize>begin << 2), load<usize>(segment, 4), load<i32>(segment, 8), q, n, t, (s * rows + t) * width);
      begin += n;
    }
  }
}

/** A whole row t. `each`: 4 where its scale is measured, and written to scale[t]; 0 where all rows share the one that is there. */
export function quantizeOwn(
  at: usize, x: usize, scale: usize, each: i32, q: usize, n: i32, t: i32, index: i32,
): void {
  if (each) store<f32>(scale + each * t, scaleOfRow(x, n));
  quantizeRow(at, x, scale + each * t, q, n, index);
}

/** n values, the first of which is number `index` of the tensor. A NaN fails the instruction `at`. */
export function quantizeRow(at: usize, x: usize, scale: usize, q: usize, n: i32, index: i32): void {
  const s = v128.load32_splat(scale);
  let nan = zero();
  const begin = x, end = x + (<usize>n << 2);
  for (; x + 64 <= end; x += 64, q += 16) {
    const a = f32x4.div(v128.load(x), s), b = f32x4.div(v128.load(x, 16), s);
    const c = f32x4.div(v128.load(x, 32), s), d = f32x4.div(v128.load(x, 48), s);
    nan = v128.or(nan, v128.or(v128.or(f32x4.ne(a, a), f32x4.ne(b, b)), v128.or(f32x4.ne(c, c), f32x4.ne(d, d))));
    v128.store(q, i8x16.narrow_i16x8_s(
      i16x8.narrow_i32x4_s(rounded(a), rounded(b)), i16x8.narrow_i32x4_s(rounded(c), rounded(d)),
    ));
  }
  for (; x < end; x += 16, q += 4) {
    const a = f32x4.div(v128.load(x), s);
    nan = v128.or(nan, x + 16 > end ? v128.and(f32x4.ne(a, a), lastLanes(n)) : f32x4.ne(a, a));
    const half = i16x8.narrow_i32x4_s(rounded(a), rounded(a));
    store<i32>(q, i32x4.extract_lane(i8x16.narrow_i16x8_s(half, half), 0));
  }
  if (v128.any_true(nan)) reportNaN(at, begin, load<f32>(scale), index);
}

function reportNaN(at: usize, x: usize, scale: f32, index: i32): void {
  while (load<f32>(x) / scale == load<f32>(x) / scale) {
    x += 4;
    index++;
  }
  fail(at, index);
}

/** The nearest integer, ties to even, within int8. */
@inline function rounded(steps: v128): v128 {
  return i32x4.sub(add(f32x4.pmin(f32x4.pmax(steps, lowestI8()), highestI8()), magic()), magic());
}
