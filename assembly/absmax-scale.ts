// The reference's bits: a maximum is the same in any order, and f32x4.max passes NaN on as Math.max does.
import { lastLanes, rowBytes, zero } from './numerics';
import { first, last } from './threads';

export function absmaxScale(rows: i32, x: usize, scale: usize, n: i32): void {
  const row = rowBytes(n), mask = lastLanes(n);
  x += row * first(rows);
  scale += first(rows) << 2;
  for (let t = first(rows), end = last(rows); t < end; t++, x += row, scale += 4) {
    let m = zero();
    for (let i: usize = 0; i < row - 16; i += 16) m = f32x4.max(m, f32x4.abs(v128.load(x + i)));
    m = f32x4.max(m, v128.and(f32x4.abs(v128.load(x + row - 16)), mask));
    const range: f32 = max<f32>(
      max<f32>(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
      max<f32>(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
    );
    store<f32>(scale, max<f32>(range, <f32>1e-5) / <f32>127);
  }
}
