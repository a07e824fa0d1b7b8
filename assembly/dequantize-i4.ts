// The reference's bits: one f32 product for each element. Not made for speed: a plan's weights are constants, and what is made of
// constants alone is made once, before the plan runs.
import { rowBytes } from './numerics';
import { first, last } from './threads';

/** q: rows of ⌈n/2⌉ bytes, padded; scale: rows of `groups`. */
export function dequantizeI4(rows: i32, q: usize, scale: usize, x: usize, n: i32, groups: i32): void {
  const size = n / groups;
  const row = rowBytes(n), packed = rowBytes((n + 1) >> 1) >> 2, ofScales = rowBytes(groups);
  for (let t = first(rows), end = last(rows); t < end; t++) {
    const from = q + packed * t, to = x + row * t, by = scale + ofScales * t;
    for (let j = 0; j < n; j++) {
      const pair = <i32>load<i8>(from + (j >> 1));
      const step = j & 1 ? pair >> 4 : (pair << 28) >> 28;
      store<f32>(to + (<usize>j << 2), load<f32>(by + (<usize>(j / size) << 2)) * <f32>step);
    }
  }
}
