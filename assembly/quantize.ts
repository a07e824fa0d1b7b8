// The reference's bits: a real division, the clamp, and the same addition of 1.5 · 2²³, which rounds half to even.
import { Quantize, QuantizeSegments } from '../src/backends/wasm/instruction-formats';
import { scaleOfRow } from './absmax-scale';
import { add, highestI8, lastLanes, lowestI8, magic, rowBytes, zero } from './numerics';
import { endOf, fail, firstOf } from './share';

export function quantize(at: usize, rows: i32): void {
  const op = changetype<Quantize>(at), x = op.x + op.start, xStride = op.xStride, scale = op.scale, scaleStride = op.scaleStride;
  const q = op.q, n = op.n, row = rowBytes(n) >> 2;
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++)
    quantizeRow(at, x + xStride * t, scale + scaleStride * t, q + row * t, n, t * n);
}

/** The segments lie behind the operands, four words each: end, scale, scaleStride, q. A NaN's index is in [segment][row][column]. */
export function quantizeSegments(at: usize, rows: i32): void {
  const op = changetype<QuantizeSegments>(at), width = op.width, segments = op.segments, xStride = rowBytes(width);
  for (let t = firstOf(rows), endRow = endOf(rows); t < endRow; t++) {
    let begin = 0;
    for (let s = 0; s < segments; s++) {
      const segment = at + offsetof<QuantizeSegments>() + (<usize>s << 4), n = load<i32>(segment) - begin;
      const x = op.x + xStride * t + (<usize>begin << 2), q = load<usize>(segment, 12) + (rowBytes(n) >> 2) * t;
      quantizeMeasured(at, x, load<usize>(segment, 4), load<i32>(segment, 8), q, n, t, (s * rows + t) * width);
      begin += n;
    }
  }
}

/** Row t, of n values. Where scaleStride is not 0, its scale is measured and written first. */
export function quantizeMeasured(
  at: usize, x: usize, scale: usize, scaleStride: i32, q: usize, n: i32, t: i32, index: i32,
): void {
  if (scaleStride) store<f32>(scale + scaleStride * t, scaleOfRow(x, n));
  quantizeRow(at, x, scale + scaleStride * t, q, n, index);
}

/** n values, the first of which has this index in the tensor. A NaN fails the instruction at `at`. */
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
