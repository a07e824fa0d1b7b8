// The reference's bits: the products of each pair, and their difference or sum, no order to keep.
import { Rope } from '../src/backends/wasm/instruction-formats';
import { add, mul, rowBytes, sub } from './numerics';
import { endOf, firstOf } from './share';

export function rope(at: usize, rows: i32): void {
  const op = changetype<Rope>(at), n = op.n, p = <usize>op.p << 2, r = <usize>op.r << 2, row = rowBytes(n), angles = rowBytes(op.r);
  for (let t = firstOf(rows), end = endOf(rows); t < end; t++) {
    const cos = op.cos + angles * t, sin = op.sin + angles * t;
    for (let x = op.x + row * t, y = op.y + row * t, stop = x + (<usize>n << 2); x < stop; x += p, y += p) {
      let i: usize = 0;
      for (; i + 16 <= r; i += 16) {
        const a = v128.load(x + i), b = v128.load(x + r + i), c = v128.load(cos + i), s = v128.load(sin + i);
        v128.store(y + i, sub(mul(a, c), mul(b, s)));
        v128.store(y + r + i, add(mul(b, c), mul(a, s)));
      }
      for (; i < r; i += 4) {
        const a = load<f32>(x + i), b = load<f32>(x + r + i), c = load<f32>(cos + i), s = load<f32>(sin + i);
        store<f32>(y + i, a * c - b * s);
        store<f32>(y + r + i, b * c + a * s);
      }
      for (i = r + r; i < p; i += 4) store<f32>(y + i, load<f32>(x + i));
    }
  }
}
