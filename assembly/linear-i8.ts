// The reference's bits: int32 sums are exact in any order; then for each group, in ascending order, the same two products
// and one sum in f32, and last the bias.
//
// Weights: tiles of 4 rows, [o/4][groups][run/8][4 rows][8 k] with k padded by zeros, one stream that is read front to
// back; scales [groups][o]. Rows of x are widened to i16 and go in pairs, [rows/2][groups][run/8][2][8].
import { add, mul, rowBytes, splat, zero } from './numerics';

const SUMS = memory.data(32, 16);

/** `each`: 4 where every row has its own xscale, 0 where all share one. b may be 0: none. scratch: the rows of x, and four of w, in i16. */
export function linearI8(
  rows: i32, x: usize, xscale: usize, each: i32, w: usize, wscale: usize, b: usize, y: usize,
  scratch: usize, i: i32, groups: i32, o: i32,
): void {
  const xrow = <usize>((i + 3) & ~3), run = i / groups, tile = <usize>((run + 7) & ~7) << 2, out = rowBytes(o);
  const pair = tile * groups; // as many bytes as a tile: 4 rows of i8, 2 rows of i16
  const pairs = rows >> 1, panel = scratch + pair * pairs;
  for (let p = 0; p < pairs; p++, x += xrow << 1) {
    widen(x, scratch + pair * p, run, groups, 32);
    widen(x + xrow, scratch + pair * p + 16, run, groups, 32);
  }
  for (let n: usize = 0; pairs && n < out; n += 16) {
    const bias = b ? v128.load(b + n) : zero();
    widenTiles(w + (n >> 4) * pair, panel, pair);
    for (let p = 0; p < pairs; p++)
      two(
        scratch + pair * p, xscale + each * 2 * p, each, panel, wscale + n, tile, groups, out,
        y + n + (out << 1) * p, b != 0, bias,
      );
  }
  if (rows & 1) {
    widen(x, scratch, run, groups, 16);
    y += out * (rows - 1);
    const s = v128.load32_splat(xscale + each * (rows - 1));
    for (let n: usize = 0; n < out; n += 16, w += pair) {
      const sum = one(scratch, s, w, wscale + n, tile, groups, out);
      v128.store(y + n, b ? add(sum, v128.load(b + n)) : sum);
    }
  }
}

/** A row as i16, in steps of `step` bytes. What stands in a group's padding is multiplied by the weights' zeros. */
function widen(x: usize, to: usize, run: i32, groups: i32, step: usize): void {
  for (let group = 0; group < groups; group++, x += run)
    for (let k = 0; k < run; k += 8, to += step) v128.store(to, v128.load8x8_s(x + k));
}

/** Four rows of w as i16: what many rows of x read is widened once. */
function widenTiles(w: usize, to: usize, bytes: usize): void {
  for (const end = w + bytes; w < end; w += 8, to += 16) v128.store(to, v128.load8x8_s(w));
}

function two(
  x: usize, xscale: usize, each: i32, w: usize, wscale: usize, tile: usize, groups: i32, out: usize,
  y: usize, biased: bool, bias: v128,
): void {
  const sx = v128.load32_splat(xscale), sy = v128.load32_splat(xscale + each);
  let s = splat(0), t = splat(0);
  for (let group = 0; group < groups; group++, x += tile, w += tile << 1, wscale += out) {
    dotTwo(x, w, tile);
    const scale = v128.load(wscale);
    const p = mul(v128.load(SUMS), mul(sx, scale)), q = mul(v128.load(SUMS, 16), mul(sy, scale));
    s = group ? add(s, p) : p;
    t = group ? add(t, q) : q;
  }
  v128.store(y, biased ? add(s, bias) : s);
  v128.store(y + out, biased ? add(t, bias) : t);
}

/** Two rows of x, four of w (widened): their sums to SUMS, in f32. */
function dotTwo(x: usize, w: usize, tile: usize): void {
  let a0 = zero(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  for (const end = x + tile; x < end; x += 32, w += 64) {
    const p = v128.load(x), q = v128.load(x, 16);
    let r = v128.load(w);
    a0 = i32x4.add(a0, i32x4.dot_i16x8_s(p, r)); b0 = i32x4.add(b0, i32x4.dot_i16x8_s(q, r));
    r = v128.load(w, 16);
    a1 = i32x4.add(a1, i32x4.dot_i16x8_s(p, r)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(q, r));
    r = v128.load(w, 32);
    a2 = i32x4.add(a2, i32x4.dot_i16x8_s(p, r)); b2 = i32x4.add(b2, i32x4.dot_i16x8_s(q, r));
    r = v128.load(w, 48);
    a3 = i32x4.add(a3, i32x4.dot_i16x8_s(p, r)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(q, r));
  }
  v128.store(SUMS, f32x4.convert_i32x4_s(sumLanes(a0, a1, a2, a3)));
  v128.store(SUMS, f32x4.convert_i32x4_s(sumLanes(b0, b1, b2, b3)), 16);
}

function one(x: usize, sx: v128, w: usize, wscale: usize, tile: usize, groups: i32, out: usize): v128 {
  let sum = splat(0);
  for (let group = 0; group < groups; group++, x += tile >> 1, w += tile, wscale += out) {
    const part = mul(dotOne(x, w, tile), mul(sx, v128.load(wscale)));
    sum = group ? add(sum, part) : part;
  }
  return sum;
}

/** One row of x, four of w: their sums in f32. */
function dotOne(x: usize, w: usize, tile: usize): v128 {
  let a0 = zero(), a1 = a0, a2 = a0, a3 = a0;
  for (const end = w + tile; w < end; x += 16, w += 32) {
    const p = v128.load(x);
    a0 = i32x4.add(a0, i32x4.dot_i16x8_s(p, v128.load8x8_s(w)));
    a1 = i32x4.add(a1, i32x4.dot_i16x8_s(p, v128.load8x8_s(w, 8)));
    a2 = i32x4.add(a2, i32x4.dot_i16x8_s(p, v128.load8x8_s(w, 16)));
    a3 = i32x4.add(a3, i32x4.dot_i16x8_s(p, v128.load8x8_s(w, 24)));
  }
  return f32x4.convert_i32x4_s(sumLanes(a0, a1, a2, a3));
}

@inline function sumLanes(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return i32x4.add(v128.shuffle<i32>(ab, cd, 0, 1, 4, 5), v128.shuffle<i32>(ab, cd, 2, 3, 6, 7));
}
