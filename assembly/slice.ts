// The reference's bits: a copy.
import { Slice } from '../src/backends/wasm/instruction-formats';
import { rowBytes } from './numerics';
import { endOf, firstOf } from './share';

export function slice(at: usize, rows: i32): void {
  const op = changetype<Slice>(at), from = rowBytes(op.n), to = rowBytes(op.size);
  let x = op.x + (<usize>op.start << 2) + from * firstOf(rows), y = op.y + to * firstOf(rows);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++, x += from, y += to)
    for (let i: usize = 0; i < to; i += 16) v128.store(y + i, v128.load(x + i));
}
