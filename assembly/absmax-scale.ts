// The reference's bits: a maximum is the same in any order. The bits of |x| are ordered as integers are, NaN above all, and the
// maximum of integers is one instruction where that of floats is six (measured: 3 ×).
import { AbsmaxScale } from '../src/backends/wasm/instruction-formats';
import { lastLanes, rowBytes } from './numerics';
import { endOf, firstOf } from './share';

export function absmaxScale(at: usize, rows: i32): void {
  const op = changetype<AbsmaxScale>(at), x = op.x, scale = op.scale, n = op.n, row = rowBytes(n);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) store<f32>(scale + (<usize>t << 2), scaleOfRow(x + row * t, n));
}

/** The scale of n values. */
export function scaleOfRow(x: usize, n: i32): f32 {
  const tail = x + rowBytes(n) - 16;
  let m = v128.and(f32x4.abs(v128.load(tail)), lastLanes(n)), o = m;
  for (; x + 16 < tail; x += 32) { // two maxima side by side: one waits for the other
    m = i32x4.max_s(m, f32x4.abs(v128.load(x)));
    o = i32x4.max_s(o, f32x4.abs(v128.load(x, 16)));
  }
  if (x < tail) m = i32x4.max_s(m, f32x4.abs(v128.load(x)));
  m = i32x4.max_s(m, o);
  const range: f32 = max<f32>(
    max<f32>(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)),
    max<f32>(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)),
  );
  return max<f32>(range, <f32>1e-5) / <f32>127;
}
