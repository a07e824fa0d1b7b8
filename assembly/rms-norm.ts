// The reference's bits: 32 lanes are 8 vectors, each adds its squares in ascending k, and the same tree adds the lanes.
import { AddNormQuantize, RmsNorm } from '../src/backends/wasm/instruction-formats';
import { add, lastLanes, mul, rowBytes, splat } from './numerics';
import { quantizeMeasured } from './quantize';
import { endOf, firstOf, own } from './share';

/** Own scratch: the lanes. */
export function rmsNorm(at: usize, rows: i32): void {
  const op = changetype<RmsNorm>(at), x = op.x, w = op.w, y = op.y, m = op.n, eps = op.eps, row = rowBytes(m);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) norm(x + row * t, w, y + row * t, m, eps);
}

/** Own scratch: the lanes, and a row. */
export function addNormQuantize(at: usize, rows: i32): void {
  const op = changetype<AddNormQuantize>(at), x = op.x, y = op.y, sum = op.sum, m = op.n, row = rowBytes(m);
  const normed = own() + 128;
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) {
    let from = x + row * t;
    if (y) {
      for (let k: usize = 0; k < row; k += 16)
        v128.store(sum + row * t + k, add(v128.load(from + k), v128.load(y + row * t + k)));
      from = sum + row * t;
    }
    norm(from, op.w, normed, m, op.eps);
    quantizeMeasured(at, normed, op.scale, op.scaleStride, op.q + (row >> 2) * t, m, t, t * m);
  }
}

export function norm(x: usize, w: usize, y: usize, m: i32, eps: f32): void {
  const row = rowBytes(m), r = splat(<f32>1 / sqrt<f32>(sumOfSquares(x, row, lastLanes(m)) / <f32>m + eps));
  if (w) for (let k: usize = 0; k < row; k += 16) v128.store(y + k, mul(mul(v128.load(x + k), r), v128.load(w + k)));
  else for (let k: usize = 0; k < row; k += 16) v128.store(y + k, mul(v128.load(x + k), r));
}

@inline function square(sum: v128, x: usize): v128 {
  const v = v128.load(x);
  return add(sum, mul(v, v));
}

function sumOfSquares(x: usize, row: usize, tail: v128): f32 {
  const lanes = own();
  let a = splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a, k: usize = 0;
  for (; k + 128 < row; k += 128) {
    const at = x + k;
    a = square(a, at); b = square(b, at + 16); c = square(c, at + 32); d = square(d, at + 48);
    e = square(e, at + 64); f = square(f, at + 80); g = square(g, at + 96); h = square(h, at + 112);
  }
  v128.store(lanes, a); v128.store(lanes, b, 16); v128.store(lanes, c, 32); v128.store(lanes, d, 48);
  v128.store(lanes, e, 64); v128.store(lanes, f, 80); v128.store(lanes, g, 96); v128.store(lanes, h, 112);
  for (let lane = lanes; k < row; k += 16, lane += 16) {
    let v = v128.load(x + k);
    if (k == row - 16) v = v128.and(v, tail); // + 0 changes no sum of squares
    v128.store(lane, add(v128.load(lane), mul(v, v)));
  }
  for (let half: usize = 64; half >= 16; half >>= 1)
    for (let j = lanes; j < lanes + half; j += 16) v128.store(j, add(v128.load(j), v128.load(j + half)));
  return (load<f32>(lanes) + load<f32>(lanes, 8)) + (load<f32>(lanes, 4) + load<f32>(lanes, 12));
}
