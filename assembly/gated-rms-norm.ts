// The reference's bits: those of silu and of rms-norm, whose sums of squares each group has.
import { GatedRmsNorm } from '../src/backends/wasm/instruction-formats';
import { dequantizeRows } from './dequantize';
import { mul, rowBytes, silu } from './numerics';
import { quantizeMeasured } from './quantize';
import { norm } from './rms-norm';
import { endOf, firstOf, own } from './share';

/** Own scratch: the lanes, the gated row, the normed row and a vector: a group may end in the middle of one. */
export function gatedRmsNorm(at: usize, rows: i32): void {
  const op = changetype<GatedRmsNorm>(at), zScale = op.zScale, w = op.w, n = op.n, row = rowBytes(n), size = n / op.groups;
  const gated = own() + 128, normed = gated + row + 16;
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) {
    const x = op.x + row * t;
    let z = op.z + row * t;
    if (zScale) {
      dequantizeRows(op.z + (row >> 2) * t, zScale + op.zScaleStride * t, 0, op.zChannels, gated, row, 1);
      z = gated;
    }
    for (let i: usize = 0; i < row; i += 16) v128.store(gated + i, mul(v128.load(x + i), silu(v128.load(z + i))));
    for (let c: usize = 0, stop = <usize>n << 2; c < stop; c += <usize>size << 2)
      norm(gated + c, w ? w + c : 0, normed + c, size, op.eps);
    if (op.q) quantizeMeasured(at, normed, op.scale, op.scaleStride, op.q + (row >> 2) * t, n, t, t * n);
    else for (let i: usize = 0; i < row; i += 16) v128.store(op.y + row * t + i, v128.load(normed + i));
  }
}
