// Int8 in steps, one step for each channel: stepsOf of src/ops/selective-scan-i8state.ts and its way back, four channels at once.
import { integers, mul } from './numerics';

/** n vectors of four. */
export function fromSteps(from: usize, scales: usize, to: usize, n: i32): void {
  const scale = v128.load(scales);
  for (const end = to + (<usize>n << 4); to < end; to += 16, from += 4)
    v128.store(to, mul(scale, integers(v128.load32_zero(from))));
}

/** Conversions to narrower integers saturate, and make 0 of NaN. */
export function toSteps(from: usize, scales: usize, to: usize, n: i32): void {
  const scale = v128.load(scales);
  for (const end = from + (<usize>n << 4); from < end; from += 16, to += 4) {
    const words = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.div(v128.load(from), scale)));
    const halves = i16x8.narrow_i32x4_s(words, words);
    v128.store32_lane(to, i8x16.narrow_i16x8_s(halves, halves), 0);
  }
}
