// IEEE binary16 as it is kept in memory: half, halfBits and halfOf of src/ops/half.ts, four values at once.

/** The bits of f32 2⁻¹⁴, the smallest normal value, and the greatest value as f32. */
const TINY = 0x38800000, MOST: f32 = 65504;

/** Four f32 as the 16 bits of the nearest binary16, in the lower half of each lane. */
@inline function narrow(x: v128): v128 {
  const a = f32x4.min(f32x4.abs(x), f32x4.splat(MOST)); // passes NaN on
  const power = i32x4.max_s(v128.and(a, i32x4.splat(0x7f800000)), i32x4.splat(TINY));
  const shift = i32x4.add(power, i32x4.splat(13 << 23)); // 2¹³ times as large: its last place is a step of binary16
  const steps = i32x4.sub(f32x4.add(a, shift), shift);
  const exponent = i32x4.sub(i32x4.shr_u(power, 13), i32x4.splat(113 << 10));
  const bits = v128.bitselect(i32x4.splat(0x7e00), i32x4.add(steps, exponent), f32x4.ne(a, a));
  return v128.or(bits, v128.bitselect(zero(), v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000)), f32x4.ne(a, a)));
}
@inline function zero(): v128 { return i32x4.splat(0); }

/** The f32 of four binary16, 16 bits in each lane. */
@inline function widen(bits: v128): v128 {
  const a = v128.and(bits, i32x4.splat(0x7fff));
  const normal = i32x4.add(i32x4.shl(a, 13), i32x4.splat(112 << 23));
  const tiny = f32x4.sub(i32x4.add(normal, i32x4.splat(1 << 23)), i32x4.splat(TINY));
  const size = v128.bitselect(tiny, normal, i32x4.lt_s(a, i32x4.splat(0x400)));
  const signed = v128.or(size, i32x4.shl(v128.and(bits, i32x4.splat(0x8000)), 16));
  return v128.or(signed, i32x4.gt_s(a, i32x4.splat(0x7c00))); // NaN
}

/** n vectors of four. */
export function widenAll(from: usize, to: usize, n: i32): void {
  for (const end = to + (<usize>n << 4); to < end; to += 16, from += 8) v128.store(to, widen(v128.load16x4_u(from)));
}

export function narrowAll(from: usize, to: usize, n: i32): void {
  for (const end = from + (<usize>n << 4); from < end; from += 16, to += 8) {
    const bits = narrow(v128.load(from));
    v128.store64_lane(to, i16x8.narrow_i32x4_u(bits, bits), 0);
  }
}
