// The reference's bits: silu of numerics.ts and one product for each element, no order to keep.
import { Swiglu, SwigluQuantize } from '../src/backends/wasm/instruction-formats';
import { transform } from './fwht';
import * as v from './numerics';
import { quantizeMeasured } from './quantize';
import { endOf, firstOf, own } from './share';

export function swiglu(at: usize, rows: i32): void {
  const op = changetype<Swiglu>(at), x = op.x, up = op.up, y = op.y, lines = v.linesOf(op.n, rows);
  for (let i = <usize>firstOf(lines) << 6, end = <usize>endOf(lines) << 6; i < end; i += 16)
    v128.store(y + i, v.mul(v.silu(v128.load(x + i)), v128.load(up + i)));
}

/** Own scratch: a row, and 2K vectors. */
export function swigluQuantize(at: usize, rows: i32): void {
  const op = changetype<SwigluQuantize>(at), n = op.n, row = v.rowBytes(n), y = own();
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) {
    const x = op.x + op.start + op.xStride * t, up = op.up + op.upStart + op.upStride * t;
    for (let i: usize = 0; i < row; i += 16) v128.store(y + i, v.mul(v.silu(v128.load(x + i)), v128.load(up + i)));
    if (op.K) transform(y, y, n, op.outer, op.K, op.run, op.signs, y + row, op.norm);
    quantizeMeasured(at, y, op.scale, op.scaleStride, op.q + (row >> 2) * t, n, t, t * n);
  }
}
