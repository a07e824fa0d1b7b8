// int8 weights lie in tiles of 16 rows, [o/16][groups][64 bytes ‖ run/4][16 rows][4 k]: a cache line is 16 rows × 4 k, and a
// product reads one stream from front to back (from memory that decides the speed). The 64 bytes are one i32 for each row,
// to be added to its sum. Rows and columns are padded by weights of zero.
//
// Two ways to multiply, exact for every pair of int8:
//
//   plain     The byte of an even k is stored plus 128, so that two bytes, read as one i16, are v = 256·w1 + (w0 + 128), and
//             w0·x0 + w1·x1 = v·x0 + w1·(x1 − 256·x0 − 128) + 128·w1 − 128·x0. Both factors fit i16 for every x0 and x1. The
//             third term is the row's i32, the last one is the same for all rows.
//   relaxed   The engine multiplies four bytes at once, w signed and x + OFFSET unsigned (or x itself, OFFSET 0: which
//             one holds is asked at the start). −OFFSET·Σ w is the row's i32.
import { zero } from './numerics';

/** Bytes before each group of a tile. */
export const HEAD: usize = 64;

@inline export function k16(run: i32): i32 { return (run + 15) & ~15; }
/** The bytes of one group of a tile. */
@inline export function tileBytes(run: i32): usize { return HEAD + ((<usize>run + 3) >> 2 << 6); }

const MASKS = memory.data<i64>([-1, -1, 0, 0], 16);
/** The first `count` of 16 bytes, or all of them, and zeros behind. */
@inline export function firstBytes(bytes: v128, count: i32): v128 {
  return count >= 16 ? bytes : v128.and(bytes, v128.load(MASKS + <usize>(16 - count)));
}

/** The weight of an even or odd k as it was. */
@inline export function unbiased(bytes: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? bytes : v128.xor(bytes, i16x8.splat(0x80));
}

@inline export function even(x: v128): v128 { return i16x8.shr_s(i16x8.shl(x, 8), 8); }
@inline export function odd(x: v128): v128 { return i16x8.shr_s(x, 8); }

/** What is added to x, for the engine whose product takes it as unsigned. */
let offset = zero();
export function setOffset(value: i32): void { offset = i8x16.splat(<i8>value); }
/** The same as a number: 0 or 128. */
@inline export function addedToX(): i32 { return i8x16.extract_lane_u(offset, 0); }
@inline export function withOffset(x: v128): v128 { return v128.xor(x, offset); }

/** Adds the products of pairs of i16, or of fours of bytes. */
@inline export function product(sum: v128, w: v128, x: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, sum);
  return i32x4.add(sum, i32x4.dot_i16x8_s(w, x));
}

/** One product of the engine, for the known answers at the start: the sum of four a·b. */
export function dot(a: i32, b: i32): i32 {
  if (!ASC_FEATURE_RELAXED_SIMD) return 0;
  return i32x4.extract_lane(product(zero(), i32x4.splat(a), i32x4.splat(b)), 0);
}
