/**
 * IEEE binary16, in which a state may be kept: rounding to it, and its 16 bits. Only exact moves of the exponent and one f32 sum,
 * the same bits everywhere.
 */

const f = Math.fround;
const FLOAT = new Float32Array(1);
const BITS = new Int32Array(FLOAT.buffer);

const MOST = 65504;
const TINY = 6.103515625e-5; // 2⁻¹⁴, the smallest normal value of binary16

/**
 * The nearest value of IEEE binary16, ties to even; beyond ±65504 it saturates. NaN stays NaN.
 *
 * 2ᵉ⁺¹³ is so large, for 2ᵉ ≤ |x| < 2ᵉ⁺¹, that |x| added to it is rounded to a step of binary16; subnormals have the step of 2⁻¹⁴.
 */
export function half(x: number): number {
  const a = Math.min(Math.abs(x), MOST);
  const r = f(f(a + shiftOf(a)) - shiftOf(a));
  return x < 0 || Object.is(x, -0) ? -r : r;
}

/** 2ᵉ⁺¹³ for 2ᵉ ≤ a < 2ᵉ⁺¹, e at least −14. */
function shiftOf(a: number): number {
  FLOAT[0] = a;
  BITS[0] &= 0x7f800000;
  return Math.max(FLOAT[0], TINY) * 8192;
}

/** 2ⁿ for −126 ≤ n ≤ 127: its bits. */
function power(n: number): number {
  BITS[0] = (n + 127) << 23;
  return FLOAT[0];
}

/** The 16 bits of a value of binary16; NaN is 7e00. */
export function halfBits(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  FLOAT[0] = Math.abs(x);
  const exponent = Math.max(BITS[0] >> 23, 113);
  return sign | (((exponent - 113) << 10) + Math.abs(x) * power(137 - exponent));
}

/** The value of 16 bits of binary16. */
export function halfOf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  if (exponent === 31) return bits & 1023 ? Number.NaN : bits & 0x8000 ? -1 / 0 : 1 / 0;
  const value = exponent ? (1024 + (bits & 1023)) * power(exponent - 25) : (bits & 1023) * power(-24);
  return bits & 0x8000 ? -value : value;
}
