// 4-bit weights lie in tiles of 16 rows, [o/16][groups][run/8][16 rows][4 bytes]: a cache line is 16 rows × 8 k, and byte j of a
// row's four holds k = j in its low half and k = j + 4 in its high one, so that the halves of a line are two lines of the
// int8 tiles (tiles-i8.ts). Columns are padded to whole 32; what stands there meets zeros of x.
//
// A half is stored plus 8: 0 … 15. That makes a term of x alone, −8 Σ x, one number for a group of a row of x. Two ways to
// multiply a row of x, exact for all values:
//
//   plain     Two bytes, read as one i16, are v = n0 + 16 n1 + 256 n2 + 4096 n3; n3 has its sign, the others are plus 8. With
//             v_i = v >> 4i, n_i = v_i − 16 v_(i+1), and Σ n_i x_i = Σ v_i (x_i − 16 x_(i−1)): three shifts and four
//             products of i16 for 32 weights, nothing is widened.
//   relaxed   The engine multiplies x, signed, by halves, which need no sign and no seventh bit: all that the standard leaves
//             open concerns others. The sums of two products stay in i16 for 32 k, |15 · 128 · 2 · 8| < 2¹⁵.
import { add, mul } from './numerics';
import { firstBytes, HEAD } from './tiles-i8';

@inline export function k32(run: i32): i32 { return (run + 31) & ~31; }
/** The bytes of one group of a tile. */
@inline export function tileBytes4(run: i32): usize { return <usize>k32(run) << 3; }
/** The bytes of a packed group of a row of x: its correction, then for each 8 k the words of its products. */
@inline export function rowGroup4(run: i32): usize { return 16 + (<usize>k32(run) << (ASC_FEATURE_RELAXED_SIMD ? 0 : 1)); }

/** A group of a row of x. */
export function packRow4(x: usize, to: usize, run: i32): void {
  let sum = i32x4.splat(0);
  const correction = to;
  to += 16;
  for (let k = 0, end = k32(run); k < end; k += 16) {
    const v = run > k ? firstBytes(v128.load(x + k), run - k) : i32x4.splat(0);
    if (ASC_FEATURE_RELAXED_SIMD) {
      sum = i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v)));
      v128.store(to, v);
      to += 16;
    } else {
      const a = factors(i16x8.extend_low_i8x16_s(v), to), b = factors(i16x8.extend_high_i8x16_s(v), to + 16);
      sum = i32x4.add(sum, i32x4.add(a, b));
      to += 32;
    }
  }
  sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
  sum = i32x4.add(sum, v128.shuffle<i32>(sum, sum, 1, 0, 3, 2));
  v128.store(correction, i32x4.neg(i32x4.shl(sum, 3)));
}

/** Of eight k what multiplies v, v >> 4, v >> 8, v >> 12. Returns the sum of those whose weights are plus 8. */
@inline function factors(x: v128, to: usize): v128 {
  const v = v128.shuffle<i16>(x, x, 0, 2, 4, 6, 1, 3, 5, 7);
  const before = v128.shuffle<i16>(i16x8.splat(0), v, 0, 1, 8, 9, 10, 11, 12, 13);
  v128.store(to, i16x8.sub(v, i16x8.shl(before, 4)));
  return i32x4.extadd_pairwise_i16x8_s(v128.shuffle<i16>(i16x8.splat(0), v, 8, 9, 10, 11, 12, 13, 0, 0));
}

/** Bytes of 15, then words of 1. As literals the engine would make them anew before every use, a third of the kernel's time. */
const CONSTANTS = memory.data<i8>(
  [15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0], 16,
);

/**
 * All groups of a tile by one row of x, as packRow4 made it: `bytes` of 16 outputs. Their sums stay in registers from group to
 * group. b may be 0: none.
 */
export function tile4(
  w: usize, x: usize, run: i32, groups: i32, xScale: usize, wScale: usize, b: usize, y: usize, bytes: usize,
): void {
  const scale = v128.load32_splat(xScale), size = tileBytes4(run);
  let A = f32x4.splat(-0.0), B = A, C = A, D = A; // −0 + x is x, also where x is −0
  for (const stop = w + size * groups; w < stop; wScale += 64) {
    const correction = v128.load(x), end = w + size;
    let a = correction, b = a, c = a, d = a;
    x += 16;
    if (ASC_FEATURE_RELAXED_SIMD) {
      const low = v128.load(CONSTANTS), ones = v128.load(CONSTANTS, 16);
      do {
        let e = i16x8.splat(0), f = e, g = e, h = e;
        for (const quad = w + 256; w < quad; w += 64, x += 8) {
          const p = v128.load32_splat(x), q = v128.load32_splat(x, 4);
          e = halves(e, v128.load(w), p, q, low);
          f = halves(f, v128.load(w, 16), p, q, low);
          g = halves(g, v128.load(w, 32), p, q, low);
          h = halves(h, v128.load(w, 48), p, q, low);
        }
        a = i32x4.add(a, i32x4.dot_i16x8_s(e, ones));
        b = i32x4.add(b, i32x4.dot_i16x8_s(f, ones));
        c = i32x4.add(c, i32x4.dot_i16x8_s(g, ones));
        d = i32x4.add(d, i32x4.dot_i16x8_s(h, ones));
      } while (w < end);
    } else
      do {
        const p = v128.load32_splat(x), q = v128.load32_splat(x, 4), r = v128.load32_splat(x, 8), s = v128.load32_splat(x, 12);
        a = quarters(a, v128.load(w), p, q, r, s);
        b = quarters(b, v128.load(w, 16), p, q, r, s);
        c = quarters(c, v128.load(w, 32), p, q, r, s);
        d = quarters(d, v128.load(w, 48), p, q, r, s);
        w += 64;
        x += 16;
      } while (w < end);
    A = addGroup(A, a, scale, wScale);
    B = addGroup(B, b, scale, wScale + 16);
    C = addGroup(C, c, scale, wScale + 32);
    D = addGroup(D, d, scale, wScale + 48);
  }
  store4(A, b, y, 0, bytes);
  store4(B, b, y, 16, bytes);
  store4(C, b, y, 32, bytes);
  store4(D, b, y, 48, bytes);
}

@inline function addGroup(sum: v128, ints: v128, scale: v128, wScale: usize): v128 {
  return add(sum, mul(f32x4.convert_i32x4_s(ints), mul(scale, v128.load(wScale))));
}

@inline function store4(sum: v128, b: usize, y: usize, n: usize, bytes: usize): void {
  if (n < bytes) v128.store(y + n, b ? add(sum, v128.load(b + n)) : sum);
}

@inline function quarters(sum: v128, v: v128, p: v128, q: v128, r: v128, s: v128): v128 {
  const low = i32x4.add(i32x4.dot_i16x8_s(v, p), i32x4.dot_i16x8_s(i16x8.shr_s(v, 4), q));
  const high = i32x4.add(i32x4.dot_i16x8_s(i16x8.shr_s(v, 8), r), i32x4.dot_i16x8_s(i16x8.shr_s(v, 12), s));
  return i32x4.add(sum, i32x4.add(low, high));
}

@inline function halves(sum: v128, v: v128, p: v128, q: v128, low: v128): v128 {
  sum = i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(p, v128.and(v, low)));
  return i16x8.add(sum, i16x8.relaxed_dot_i8x16_i7x16_s(q, v128.and(i16x8.shr_u(v, 4), low)));
}

/** One product of the engine, for the known answers at the start: the sum of four a·b, where b is four bytes from 0 to 15. */
export function dotHalves(a: i32, b: i32): i32 {
  if (!ASC_FEATURE_RELAXED_SIMD) return 0;
  const pairs = i16x8.relaxed_dot_i8x16_i7x16_s(i32x4.splat(a), i32x4.splat(b));
  return i32x4.extract_lane(i32x4.dot_i16x8_s(pairs, i16x8.splat(1)), 0);
}

/** A group of a tile as one of the int8 tiles: for more than one row of x. `offset`: what is added to x there, 0 or 128. */
export function unpackTile(w: usize, to: usize, run: i32, offset: i32): void {
  const low = i8x16.splat(15);
  const less = ASC_FEATURE_RELAXED_SIMD ? i8x16.splat(-8) : i16x8.splat(<i16>0xf878); // 120 = 128 − 8 to the even k, −8 to the odd
  let a = i32x4.splat(0), b = a, c = a, d = a;
  const head = to;
  to += HEAD;
  for (const end = w + (<usize>((run + 7) >> 3) << 6); w < end; w += 64, to += 128) {
    a = unpack(w, to, a, low, less);
    b = unpack(w + 16, to + 16, b, low, less);
    c = unpack(w + 32, to + 32, c, low, less);
    d = unpack(w + 48, to + 48, d, low, less);
  }
  const factor = i32x4.splat(-offset);
  v128.store(head, i32x4.mul(a, factor)); v128.store(head, i32x4.mul(b, factor), 16);
  v128.store(head, i32x4.mul(c, factor), 32); v128.store(head, i32x4.mul(d, factor), 48);
}

@inline function unpack(w: usize, to: usize, sum: v128, low: v128, less: v128): v128 {
  let v = v128.load(w);
  if (!ASC_FEATURE_RELAXED_SIMD) v = v128.xor(v, i16x8.splat(<i16>0x8000));
  const p = i8x16.add(v128.and(v, low), less), q = i8x16.add(v128.and(i16x8.shr_u(v, 4), low), less);
  v128.store(to, p);
  v128.store(to, q, 64);
  if (!ASC_FEATURE_RELAXED_SIMD) return sum;
  const both = i16x8.add(i16x8.extadd_pairwise_i8x16_s(p), i16x8.extadd_pairwise_i8x16_s(q));
  return i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(both));
}
