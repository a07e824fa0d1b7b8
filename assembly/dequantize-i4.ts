// The reference's bits: one f32 product for each element. Not made for speed: a plan's weights are constants, and what is made of
// constants alone is made once, before the plan runs.
import { DequantizeI4 } from '../src/backends/wasm/instruction-formats';
import { rowBytes } from './numerics';
import { endOf, firstOf } from './share';

/** q: rows of ⌈n/2⌉ bytes, padded; scale: rows of `groups`. */
export function dequantizeI4(at: usize, rows: i32): void {
  const op = changetype<DequantizeI4>(at), n = op.n, groups = op.groups, size = n / groups;
  const row = rowBytes(n), packed = rowBytes((n + 1) >> 1) >> 2, scaleRow = rowBytes(groups);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) {
    const q = op.q + packed * t, x = op.x + row * t, scale = op.scale + scaleRow * t;
    for (let j = 0; j < n; j++) {
      const pair = <i32>load<i8>(q + (j >> 1));
      const step = j & 1 ? pair >> 4 : (pair << 28) >> 28;
      store<f32>(x + (<usize>j << 2), load<f32>(scale + (<usize>(j / size) << 2)) * <f32>step);
    }
  }
}
