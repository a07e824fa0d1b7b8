// The reference's bits: one f32 product or quotient for each element, no order to keep.
import { mul, rowBytes } from './numerics';
import { first, last } from './threads';

export function scaleChannels(rows: i32, x: usize, c: usize, y: usize, n: i32, inverse: i32): void {
  const row = rowBytes(n);
  x += row * first(rows);
  y += row * first(rows);
  for (let t = first(rows), end = last(rows); t < end; t++, x += row, y += row)
    if (inverse) for (let i: usize = 0; i < row; i += 16) v128.store(y + i, f32x4.div(v128.load(x + i), v128.load(c + i)));
    else for (let i: usize = 0; i < row; i += 16) v128.store(y + i, mul(v128.load(x + i), v128.load(c + i)));
}
