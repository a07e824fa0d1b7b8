// The reference's bits: one f32 sum for each element, no order to keep.
import { Add } from '../src/backends/wasm/instruction-formats';
import * as v from './numerics';
import { endOf, firstOf } from './share';

export function add(at: usize, rows: i32): void {
  const op = changetype<Add>(at), x = op.x, y = op.y, sum = op.sum, lines = v.linesOf(op.n, rows);
  for (let i = <usize>firstOf(lines) << 6, end = <usize>endOf(lines) << 6; i < end; i += 16)
    v128.store(sum + i, v.add(v128.load(x + i), v128.load(y + i)));
}
