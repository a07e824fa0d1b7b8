// The reference's bits: each element is −exp of numerics.ts, no order to keep.
import { NegExp } from '../src/backends/wasm/instruction-formats';
import * as v from './numerics';
import { endOf, firstOf } from './share';

export function negExp(at: usize, rows: i32): void {
  const op = changetype<NegExp>(at), x = op.x, y = op.y, lines = v.linesOf(op.n, rows);
  for (let i = <usize>firstOf(lines) << 6, end = <usize>endOf(lines) << 6; i < end; i += 16)
    v128.store(y + i, f32x4.neg(v.exp(v128.load(x + i))));
}
