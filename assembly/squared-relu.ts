// The reference's bits: one product for each element, no order to keep.
import { SquaredRelu } from '../src/backends/wasm/instruction-formats';
import * as v from './numerics';
import { endOf, firstOf } from './share';

export function squaredRelu(at: usize, rows: i32): void {
  const op = changetype<SquaredRelu>(at), x = op.x, y = op.y, lines = v.linesOf(op.n, rows);
  for (let i = <usize>firstOf(lines) << 6, end = <usize>endOf(lines) << 6; i < end; i += 16) {
    const value = v128.load(x + i);
    v128.store(y + i, v128.andnot(v.mul(value, value), f32x4.le(value, v.zero()))); // NaN stays NaN
  }
}
