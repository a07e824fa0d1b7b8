// The reference's bits: each element is silu of numerics.ts, no order to keep.
import { Silu } from '../src/backends/wasm/instruction-formats';
import * as v from './numerics';
import { endOf, firstOf } from './share';

export function silu(at: usize, rows: i32): void {
  const op = changetype<Silu>(at), x = op.x, y = op.y, lines = v.linesOf(op.n, rows);
  for (let i = <usize>firstOf(lines) << 6, end = <usize>endOf(lines) << 6; i < end; i += 16)
    v128.store(y + i, v.silu(v128.load(x + i)));
}
