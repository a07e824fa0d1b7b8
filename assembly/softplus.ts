// The reference's bits: each element is softplus of numerics.ts, no order to keep.
import { Softplus } from '../src/backends/wasm/instruction-formats';
import * as v from './numerics';
import { endOf, firstOf } from './share';

export function softplus(at: usize, rows: i32): void {
  const op = changetype<Softplus>(at), x = op.x, y = op.y, lines = v.linesOf(op.n, rows);
  for (let i = <usize>firstOf(lines) << 6, end = <usize>endOf(lines) << 6; i < end; i += 16)
    v128.store(y + i, v.softplus(v128.load(x + i)));
}
