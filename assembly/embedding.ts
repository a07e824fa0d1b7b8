// The reference's bits: a copy. The table lies in the tiles of linear.ts, so that a tied head needs no second one.
import { Embedding } from '../src/backends/wasm/instruction-formats';
import { rowBytes } from './numerics';
import { endOf, firstOf } from './share';

export function embedding(at: usize, rows: i32): void {
  const op = changetype<Embedding>(at), tokens = op.tokens, w = op.w, row = rowBytes(op.m);
  let y = op.y + row * firstOf(rows);
  for (let t = firstOf(rows), endRow = endOf(rows); t < endRow; t++) {
    const token = load<u32>(tokens + (<usize>t << 2));
    let from = w + (row << 2) * (token >> 2) + ((token & 3) << 4);
    for (const end = y + row; y < end; y += 16, from += 64) v128.store(y, v128.load(from));
  }
}
