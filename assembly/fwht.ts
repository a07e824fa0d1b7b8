// The reference's bits: the same butterflies in ascending stride, the same left-to-right sums of M_K, whose ±1 only flip
// signs, and one product at the end. Inside a stage the elements are independent.
import { Fwht, FwhtQuantize } from '../src/backends/wasm/instruction-formats';
import { add, mul, rowBytes, splat, sub } from './numerics';
import { quantizeMeasured } from './quantize';
import { endOf, firstOf, own } from './share';

/** Own scratch: 2K vectors. */
export function fwht(at: usize, rows: i32): void {
  const op = changetype<Fwht>(at), x = op.x, y = op.y, n = op.n, row = rowBytes(n);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++)
    transform(x + row * t, y + row * t, n, op.outer, op.K, op.run, op.signs, own(), op.norm);
}

/** Own scratch: a row, and 2K vectors. */
export function fwhtQuantize(at: usize, rows: i32): void {
  const op = changetype<FwhtQuantize>(at), x = op.x, n = op.n, row = rowBytes(n);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) {
    transform(x + row * t, own(), n, op.outer, op.K, op.run, op.signs, own() + row, op.norm);
    quantizeMeasured(at, own(), op.scale, op.scaleStride, op.q + (row >> 2) * t, n, t, t * n);
  }
}

export function transform(
  x: usize, y: usize, n: i32, outer: i32, K: i32, run: i32, signs: usize, scratch: usize, norm: f32,
): void {
  const row = rowBytes(n), size = <usize>n << 2, part = size / outer;
  for (let i: usize = 0; i < row; i += 16) v128.store(y + i, v128.load(x + i));
  if (run >= 4) {
    inVectors(y, y + size);
    let stride: usize = 16;
    for (; stride << 1 < <usize>run << 2; stride <<= 2) twoStages(y, y + size, stride);
    if (stride < <usize>run << 2) butterflies(y, y + size, stride);
  } else if (run == 2) narrowButterflies(y, y + size, 4);
  for (let half = y; half < y + size; half += part)
    if (K > 1 && run >= 8) mix(half, K, <usize>run << 2, signs, scratch);
    else if (K > 1) narrowMix(half, K, <usize>run << 2, signs, scratch);
  if (outer == 2 && (size & 31)) narrowButterflies(y, y + size, size >> 1);
  else if (outer == 2) butterflies(y, y + size, size >> 1);
  for (let i: usize = 0; i < row; i += 16) v128.store(y + i, mul(v128.load(y + i), splat(norm)));
}

/** Strides 1 and 2. */
function inVectors(begin: usize, end: usize): void {
  const odd = i32x4(0, 0x80000000, 0, 0x80000000), upper = i32x4(0, 0, 0x80000000, 0x80000000);
  for (let i = begin; i < end; i += 16) {
    let v = v128.load(i);
    v = add(v128.shuffle<f32>(v, v, 0, 0, 2, 2), v128.xor(v128.shuffle<f32>(v, v, 1, 1, 3, 3), odd));
    v = add(v128.shuffle<f32>(v, v, 0, 1, 0, 1), v128.xor(v128.shuffle<f32>(v, v, 2, 3, 2, 3), upper));
    v128.store(i, v);
  }
}

function butterflies(begin: usize, end: usize, stride: usize): void {
  for (let block = begin; block < end; block += stride << 1)
    for (let i = block; i < block + stride; i += 16) {
      const a = v128.load(i), b = v128.load(i + stride);
      v128.store(i, add(a, b));
      v128.store(i + stride, sub(a, b));
    }
}

/** The butterflies of `stride` and of its double, with half the loads and stores. */
function twoStages(begin: usize, end: usize, stride: usize): void {
  for (let block = begin; block < end; block += stride << 2)
    for (let i = block; i < block + stride; i += 16) {
      const a = v128.load(i), b = v128.load(i + stride), c = v128.load(i + stride * 2), d = v128.load(i + stride * 3);
      const p = add(a, b), q = sub(a, b), r = add(c, d), s = sub(c, d);
      v128.store(i, add(p, r));
      v128.store(i + stride, add(q, s));
      v128.store(i + stride * 2, sub(p, r));
      v128.store(i + stride * 3, sub(q, s));
    }
}

/** Eight columns at once: each of K values (a multiple of 4), `run` bytes apart, is multiplied by M_K. */
function mix(at: usize, K: i32, run: usize, signs: usize, columns: usize): void {
  const bytes = <usize>K << 5;
  for (const end = at + run; at < end; at += 32) {
    for (let j: usize = 0, from = at; j < bytes; j += 32, from += run) {
      v128.store(columns + j, v128.load(from));
      v128.store(columns + j, v128.load(from, 16), 16);
    }
    for (let sign = signs, to = at; to < at + run * K; sign += bytes >> 2, to += run << 1)
      rows2(columns, bytes, sign, to, to + run);
  }
}

/** Two rows of M_K by eight columns: every load serves two of four sums. */
function rows2(x: usize, bytes: usize, sign: usize, to: usize, next: usize): void {
  const row = bytes >> 3;
  let s = v128.load32_splat(sign), t = v128.load32_splat(sign + row);
  let p = v128.load(x), q = v128.load(x, 16);
  let a = v128.xor(p, s), b = v128.xor(q, s), c = v128.xor(p, t), d = v128.xor(q, t);
  const end = x + bytes;
  for (x += 32, sign += 4; x < end; x += 32, sign += 4) {
    s = v128.load32_splat(sign);
    t = v128.load32_splat(sign + row);
    p = v128.load(x);
    q = v128.load(x, 16);
    a = add(a, v128.xor(p, s)); b = add(b, v128.xor(q, s));
    c = add(c, v128.xor(p, t)); d = add(d, v128.xor(q, t));
  }
  v128.store(to, a); v128.store(to, b, 16);
  v128.store(next, c); v128.store(next, d, 16);
}

// Runs below 8 are too narrow for that: the same, one value at a time.

function narrowButterflies(begin: usize, end: usize, stride: usize): void {
  for (let block = begin; block < end; block += stride << 1)
    for (let i = block; i < block + stride; i += 4) {
      const a = load<f32>(i), b = load<f32>(i + stride);
      store<f32>(i, a + b);
      store<f32>(i + stride, a - b);
    }
}

function narrowMix(at: usize, K: i32, run: usize, signs: usize, column: usize): void {
  for (const end = at + run; at < end; at += 4) {
    for (let j = 0; j < K; j++) store<f32>(column + (<usize>j << 2), load<f32>(at + run * j));
    let sign = signs;
    for (let i = 0; i < K; i++) {
      let sum = signed(column, sign);
      sign += 4;
      for (let j = 1; j < K; j++, sign += 4) sum += signed(column + (<usize>j << 2), sign);
      store<f32>(at + run * i, sum);
    }
  }
}
@inline function signed(value: usize, sign: usize): f32 { return reinterpret<f32>(load<i32>(value) ^ load<i32>(sign)); }
