// The reference's bits: 32 lanes are 8 vectors, each adds its squares in ascending k, and the same tree adds the lanes.
import { add, lastLanes, mul, rowBytes, splat } from './numerics';

const LANES = memory.data(128, 16);

export function rmsNorm(rows: i32, x: usize, w: usize, y: usize, m: i32, eps: f32): void {
  const row = rowBytes(m);
  for (let t = 0; t < rows; t++, x += row, y += row) {
    const r = splat(<f32>1 / sqrt<f32>(sumOfSquares(x, row, lastLanes(m)) / <f32>m + eps));
    if (w) for (let k: usize = 0; k < row; k += 16) v128.store(y + k, mul(mul(v128.load(x + k), r), v128.load(w + k)));
    else for (let k: usize = 0; k < row; k += 16) v128.store(y + k, mul(v128.load(x + k), r));
  }
}

function sumOfSquares(x: usize, row: usize, last: v128): f32 {
  memory.fill(LANES, 0, 128);
  for (let k: usize = 0; k < row; k += 16) {
    let v = v128.load(x + k);
    if (k == row - 16) v = v128.and(v, last); // + 0 changes no sum of squares
    const lane = LANES + (k & 112);
    v128.store(lane, add(v128.load(lane), mul(v, v)));
  }
  for (let half: usize = 64; half >= 16; half >>= 1)
    for (let j = LANES; j < LANES + half; j += 16) v128.store(j, add(v128.load(j), v128.load(j + half)));
  return (load<f32>(LANES) + load<f32>(LANES, 8)) + (load<f32>(LANES, 4) + load<f32>(LANES, 12));
}
