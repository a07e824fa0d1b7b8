// How a state is kept between two tokens: src/state.ts's rounding and its way back, four values at once. A state that is not kept
// in f32 is read into f32 before a token (of a scan) or a call (of a convolution) and written again after it.
import { STATE_F16 } from '../src/backends/wasm/instruction-formats';
import { integers, mul, zero } from './numerics';

/** The bytes of n vectors of four values. */
@inline export function keptBytes(type: i32, n: i32): usize { return <usize>n << (type == STATE_F16 ? 3 : 2); }

/** Reads n vectors of four, f16, or i8 by the scales of the four lanes. */
@inline export function readState(type: i32, from: usize, scales: usize, to: usize, n: i32): void {
  if (type == STATE_F16) readF16(from, to, n);
  else readI8(from, scales, to, n);
}

@inline export function writeState(type: i32, from: usize, scales: usize, to: usize, n: i32): void {
  if (type == STATE_F16) writeF16(from, to, n);
  else writeI8(from, scales, to, n);
}

/** The same for squares of four rows by four of n values that have n steps, which all rows share. */
export function readSquares(type: i32, from: usize, scales: usize, to: usize, n: i32): void {
  if (type == STATE_F16) return readF16(from, to, n);
  for (const end = scales + (<usize>n << 2); scales < end; scales += 16, from += 16, to += 64) {
    const q = v128.load(from), low = i16x8.extend_low_i8x16_s(q), high = i16x8.extend_high_i8x16_s(q), scale = v128.load(scales);
    v128.store(to, mul(scale, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low))));
    v128.store(to, mul(scale, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low))), 16);
    v128.store(to, mul(scale, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high))), 32);
    v128.store(to, mul(scale, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high))), 48);
  }
}

export function writeSquares(type: i32, from: usize, scales: usize, to: usize, n: i32): void {
  if (type == STATE_F16) return writeF16(from, to, n);
  for (const end = scales + (<usize>n << 2); scales < end; scales += 16, from += 64, to += 16) {
    const scale = v128.load(scales);
    const a = i16x8.narrow_i32x4_s(stepsOf(v128.load(from), scale), stepsOf(v128.load(from, 16), scale));
    const b = i16x8.narrow_i32x4_s(stepsOf(v128.load(from, 32), scale), stepsOf(v128.load(from, 48), scale));
    v128.store(to, i8x16.narrow_i16x8_s(a, b));
  }
}

function readF16(from: usize, to: usize, n: i32): void {
  for (const end = to + (<usize>n << 4); to < end; to += 16, from += 8) v128.store(to, fromF16(v128.load16x4_u(from)));
}

function writeF16(from: usize, to: usize, n: i32): void {
  for (const end = from + (<usize>n << 4); from < end; from += 16, to += 8) {
    const bits = toF16(v128.load(from));
    v128.store64_lane(to, i16x8.narrow_i32x4_u(bits, bits), 0);
  }
}

function readI8(from: usize, scales: usize, to: usize, n: i32): void {
  const scale = v128.load(scales);
  for (const end = to + (<usize>n << 4); to < end; to += 16, from += 4)
    v128.store(to, mul(scale, integers(v128.load32_zero(from))));
}

function writeI8(from: usize, scales: usize, to: usize, n: i32): void {
  const scale = v128.load(scales);
  for (const end = from + (<usize>n << 4); from < end; from += 16, to += 4) {
    const words = stepsOf(v128.load(from), scale), halves = i16x8.narrow_i32x4_s(words, words);
    v128.store32_lane(to, i8x16.narrow_i16x8_s(halves, halves), 0);
  }
}

/** Conversions to narrower integers saturate, and make 0 of NaN. */
@inline function stepsOf(x: v128, scale: v128): v128 { return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.div(x, scale))); }

/** The bits of f32 2⁻¹⁴, the smallest normal value, and the greatest value as f32. */
const TINY = 0x38800000, MOST: f32 = 65504;

/** Four f32 as the 16 bits of the nearest binary16, in the lower half of each lane. */
@inline function toF16(x: v128): v128 {
  const a = f32x4.min(f32x4.abs(x), f32x4.splat(MOST)); // passes NaN on
  const power = i32x4.max_s(v128.and(a, i32x4.splat(0x7f800000)), i32x4.splat(TINY));
  const shift = i32x4.add(power, i32x4.splat(13 << 23)); // 2¹³ times as large: its last place is a step of binary16
  const steps = i32x4.sub(f32x4.add(a, shift), shift);
  const exponent = i32x4.sub(i32x4.shr_u(power, 13), i32x4.splat(113 << 10));
  const bits = v128.bitselect(i32x4.splat(0x7e00), i32x4.add(steps, exponent), f32x4.ne(a, a));
  return v128.or(bits, v128.bitselect(zero(), v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000)), f32x4.ne(a, a)));
}

/** The f32 of four binary16, 16 bits in each lane. */
@inline function fromF16(bits: v128): v128 {
  const a = v128.and(bits, i32x4.splat(0x7fff));
  const normal = i32x4.add(i32x4.shl(a, 13), i32x4.splat(112 << 23));
  const tiny = f32x4.sub(i32x4.add(normal, i32x4.splat(1 << 23)), i32x4.splat(TINY));
  const size = v128.bitselect(tiny, normal, i32x4.lt_s(a, i32x4.splat(0x400)));
  const signed = v128.or(size, i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16));
  return v128.or(signed, i32x4.gt_s(a, i32x4.splat(0x7c00))); // NaN
}
