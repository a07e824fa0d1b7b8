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

/** The segments lie behind the operands, five words each: end, scale, scaleStride, q, channels. A NaN's index is in [segment][row][column]. */
export function quantizeSegments(at: usize, rows: i32): void {
  const op = changetype<QuantizeSegments>(at), width = op.width, segments = op.segments, xStride = rowBytes(width);
  for (let t = firstOf(rows), endRow = endOf(rows); t < endRow; t++) {
    let begin = 0;
    for (let s = 0; s < segments; s++) {
      const segment = at + offsetof<QuantizeSegments>() + 20 * s, n = load<i32>(segment) - begin;
      const x = op.x + xStride * t + (<usize>begin << 2), q = load<usize>(segment, 12) + (rowBytes(n) >> 2) * t;
      const channels = load<usize>(segment, 16);
      if (channels) divide(x, channels, n);
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

/** Each of n values by its own of `by`, in place. What follows them may be columns of another segment, and stays. */
function divide(y: usize, by: usize, n: i32): void {
  const end = y + (<usize>n << 2);
  for (; y < end; y += 16, by += 16) {
    const x = v128.load(y), quotient = f32x4.div(x, v128.load(by));
    v128.store(y, y + 16 > end ? v128.bitselect(quotient, x, lastLanes(n)) : quotient);
  }
}

/**
 * Columns `column` … of row t, each to its segment of the list at `segment`: four words each, end, scale, q, channels. A segment's
 * columns of all rows are an index apart that begins with `index` for this row and grows by `next` a segment.
 */
export function quantizeColumns(
  at: usize, segment: usize, values: usize, column: i32, columns: i32, t: i32, index: i32, next: i32,
): void {
  let begin = 0;
  for (const end = column + columns; column < end; segment += 16, index += next) {
    const segmentEnd = load<i32>(segment), width = (segmentEnd - begin + 3) & ~3;
    if (column < segmentEnd) {
      const n = min(segmentEnd, end) - column, c = column - begin, channels = load<usize>(segment, 12);
      if (channels) divide(values, channels + (<usize>c << 2), n);
      quantizeRow(at, values, load<usize>(segment, 4), load<usize>(segment, 8) + width * t + c, n, index + c);
      values += <usize>n << 2;
      column += n;
    }
    begin = segmentEnd;
  }
}

/** The nearest integer, ties to even, within int8. */
@inline function rounded(steps: v128): v128 {
  return i32x4.sub(add(f32x4.pmin(f32x4.pmax(steps, lowestI8()), highestI8()), magic()), magic());
}
