// The reference's bits: silu of numerics.ts and one product for each element, no order to keep.
import { Swiglu } from '../src/backends/wasm/instruction-formats';
import * as v from './numerics';
import { endOf, firstOf } from './share';

export function swiglu(at: usize, rows: i32): void {
  const op = changetype<Swiglu>(at), x = op.x, up = op.up, y = op.y, lines = v.linesOf(op.n, rows);
  for (let i = <usize>firstOf(lines) << 6, end = <usize>endOf(lines) << 6; i < end; i += 16)
    v128.store(y + i, v.mul(v.silu(v128.load(x + i)), v128.load(up + i)));
}
