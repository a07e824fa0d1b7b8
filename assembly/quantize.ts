// The reference's bits: a real division, the clamp, and the same addition of 1.5 · 2²³, which rounds half to even.
import { add, lastLanes, magic, rowBytes, splat, zero } from './numerics';

/** `each`: 4 where every row has its own scale, 0 where all share one. False where x holds a NaN. */
export function quantize(rows: i32, x: usize, scale: usize, each: i32, q: usize, n: i32): bool {
  const row = rowBytes(n), mask = lastLanes(n), low = splat(-128), high = splat(127);
  let nan = zero();
  for (let t = 0; t < rows; t++, scale += each) {
    const s = v128.load32_splat(scale);
    let steps = zero(), unequal = zero();
    for (const end = x + row; x < end; x += 16, q += 4) {
      nan = v128.or(nan, unequal);
      steps = f32x4.div(v128.load(x), s);
      unequal = f32x4.ne(steps, steps);
      const wide = i32x4.sub(add(f32x4.pmin(f32x4.pmax(steps, low), high), magic()), magic());
      const half = i16x8.narrow_i32x4_s(wide, wide);
      store<i32>(q, i32x4.extract_lane(i8x16.narrow_i16x8_s(half, half), 0));
    }
    nan = v128.or(nan, v128.and(unequal, mask));
  }
  return !v128.any_true(nan);
}
