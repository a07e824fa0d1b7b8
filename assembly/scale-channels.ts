// The reference's bits: one f32 product or quotient for each element, no order to keep.
import { ScaleChannels } from '../src/backends/wasm/instruction-formats';
import { mul, rowBytes } from './numerics';
import { endOf, firstOf } from './share';

export function scaleChannels(at: usize, rows: i32): void {
  const op = changetype<ScaleChannels>(at), c = op.c, row = rowBytes(op.n), inverse = op.inverse;
  let x = op.x + row * firstOf(rows), y = op.y + row * firstOf(rows);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++, x += row, y += row)
    if (inverse) for (let i: usize = 0; i < row; i += 16) v128.store(y + i, f32x4.div(v128.load(x + i), v128.load(c + i)));
    else for (let i: usize = 0; i < row; i += 16) v128.store(y + i, mul(v128.load(x + i), v128.load(c + i)));
}
