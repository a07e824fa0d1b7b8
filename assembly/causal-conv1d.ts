// The reference's bits: the lanes of a vector are channels, and each adds its taps in ascending j, then b, then silu.
//
// Taps: [k][channels]. The window holds the state and the inputs, [k−1 + rows][channels]; the state is [channels][k−1].
import { add, mul, rowBytes, silu } from './numerics';

/** b may be 0: none. scratch: the window. */
export function causalConv1d(
  rows: i32, x: usize, w: usize, b: usize, state: usize, y: usize, scratch: usize, d: i32, k: i32, activated: i32,
): void {
  const row = rowBytes(d), past = k - 1;
  for (let j = 0; j < past; j++)
    for (let c = 0; c < d; c++)
      store<f32>(scratch + row * j + (<usize>c << 2), load<f32>(state + (<usize>(c * past + j) << 2)));
  memory.copy(scratch + row * past, x, row * rows);
  for (let t = 0; t < rows; t++, y += row) {
    convolve(scratch + row * t, w, b, y, row, k);
    if (activated) for (let i: usize = 0; i < row; i += 16) v128.store(y + i, silu(v128.load(y + i)));
  }
  scratch += row * rows;
  for (let j = 0; j < past; j++)
    for (let c = 0; c < d; c++)
      store<f32>(state + (<usize>(c * past + j) << 2), load<f32>(scratch + row * j + (<usize>c << 2)));
}

function convolve(window: usize, w: usize, b: usize, y: usize, row: usize, k: i32): void {
  for (let c: usize = 0; c < row; c += 16) {
    let sum = mul(v128.load(w + c), v128.load(window + c));
    for (let j = 1; j < k; j++) sum = add(sum, mul(v128.load(w + c + row * j), v128.load(window + c + row * j)));
    v128.store(y + c, b ? add(sum, v128.load(b + c)) : sum);
  }
}
