// How a state is kept between two tokens: src/state.ts's rounding and its way back, four values at once. A state that is not kept
// in f32 is read into f32 before a token (of a scan) or a call (of a convolution) and written again after it.
import { STATE_F16, STATE_I8_DYNAMIC } from '../src/backends/wasm/instruction-formats';
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

/** The same for squares of four channels by four of n states, by the steps of the states. */
export function readSquares(type: i32, from: usize, steps: usize, to: usize, n: i32): void {
  if (type == STATE_F16) return readF16(from, to, n);
  for (const end = steps + (<usize>n << 2); steps < end; steps += 16, from += 16, to += 64) {
    const q = v128.load(from), low = i16x8.extend_low_i8x16_s(q), high = i16x8.extend_high_i8x16_s(q), step = v128.load(steps);
    v128.store(to, mul(step, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low))));
    v128.store(to, mul(step, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low))), 16);
    v128.store(to, mul(step, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high))), 32);
    v128.store(to, mul(step, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high))), 48);
  }
}

export function writeSquares(type: i32, from: usize, steps: usize, to: usize, n: i32): void {
  if (type == STATE_F16) return writeF16(from, to, n);
  for (const end = steps + (<usize>n << 2); steps < end; steps += 16, from += 64, to += 16) {
    const step = v128.load(steps);
    const a = i16x8.narrow_i32x4_s(inSteps(v128.load(from), step), inSteps(v128.load(from, 16), step));
    const b = i16x8.narrow_i32x4_s(inSteps(v128.load(from, 32), step), inSteps(v128.load(from, 48), step));
    v128.store(to, i8x16.narrow_i16x8_s(a, b));
  }
}

/** What is left of the squares of `fours` times four channels, in place. Dynamic steps are measured over all of them, and kept. */
export function roundSquares(type: i32, x: usize, steps: usize, n: i32, fours: i32): void {
  const four = <usize>n << 4, end = x + four * fours;
  if (type == STATE_F16) {
    for (; x < end; x += 16) v128.store(x, fromF16(toF16(v128.load(x))));
    return;
  }
  for (const stop = x + four; x < stop; x += 64, steps += 16) {
    if (type == STATE_I8_DYNAMIC) {
      let most = least();
      for (let at = x; at < end; at += four)
        most = larger(larger(larger(larger(most, v128.load(at)), v128.load(at, 16)), v128.load(at, 32)), v128.load(at, 48));
      v128.store(steps, stepOf(most));
    }
    const step = v128.load(steps);
    for (let at = x; at < end; at += four)
      for (let i = at; i < at + 64; i += 16) {
        const q = i32x4.min_s(i32x4.max_s(inSteps(v128.load(i), step), i32x4.splat(-128)), i32x4.splat(127));
        v128.store(i, mul(step, f32x4.convert_i32x4_s(q)));
      }
  }
}

/** The steps of four lanes of n values that are measured: src/state.ts's measuredStep. */
export function measuredSteps(x: usize, n: i32): v128 {
  let most = least();
  for (const end = x + (<usize>n << 4); x < end; x += 16) most = larger(most, v128.load(x));
  return stepOf(most);
}
/** The step of one row of n vectors, in all lanes. */
export function measuredStep(x: usize, n: i32): v128 {
  let most = least();
  for (const end = x + (<usize>n << 4); x < end; x += 16) most = larger(most, v128.load(x));
  most = larger(most, v128.shuffle<f32>(most, most, 2, 3, 0, 1));
  return stepOf(larger(most, v128.shuffle<f32>(most, most, 1, 0, 3, 2)));
}
@inline function least(): v128 { return f32x4.splat(1e-5); }
/** The larger of `most` and |x|, which NaN is not. */
@inline function larger(most: v128, x: v128): v128 { return f32x4.pmax(most, f32x4.abs(x)); }
@inline function stepOf(most: v128): v128 {
  const step = f32x4.div(f32x4.pmin(most, f32x4.splat(3.4e38)), f32x4.splat(127));
  return v128.and(i32x4.add(step, i32x4.splat(0xff)), i32x4.splat(~0xff)); // 16 digits, upwards
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
    const words = inSteps(v128.load(from), scale), halves = i16x8.narrow_i32x4_s(words, words);
    v128.store32_lane(to, i8x16.narrow_i16x8_s(halves, halves), 0);
  }
}

/** Conversions to narrower integers saturate, and make 0 of NaN. */
@inline function inSteps(x: v128, scale: v128): v128 { return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.div(x, scale))); }

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

// V8 builds a vector constant anew at each use; one in memory costs a load.
const LANES = memory.data<i32>([
  0x8fffffff, 0x8fffffff, 0x8fffffff, 0x8fffffff, /* 2¹¹² */ 0x77800000, 0x77800000, 0x77800000, 0x77800000,
  0x7fff, 0x7fff, 0x7fff, 0x7fff, 0x7c00, 0x7c00, 0x7c00, 0x7c00,
], 16);

/** The f32 of four binary16, 16 bits in each lane. Moved to where f32 has them, exponent and places are 2⁻¹¹² of the value, subnormals too. */
@inline function fromF16(bits: v128): v128 {
  const moved = v128.and(i32x4.shr_s(i32x4.shl(bits, 16), 3), v128.load(LANES));
  const isNaN = i32x4.gt_s(v128.and(bits, v128.load(LANES, 32)), v128.load(LANES, 48));
  return v128.or(mul(moved, v128.load(LANES, 16)), isNaN);
}
