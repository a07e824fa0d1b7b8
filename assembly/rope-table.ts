// The reference's bits: sine and cosine of src/ops/numerics.ts, in f64 by the same operations, and one rounding to f32.
import { RopeTable, STATE_F32, STATE_I8_DYNAMIC } from '../src/backends/wasm/instruction-formats';
import { keptBytes, measuredSteps, readState, writeState } from './kept-state';
import { rowBytes, splat } from './numerics';
import { endOf, firstOf, own } from './share';
import { endRow, firstRow, stateOf, turnCount } from './turns';

/** Whoever does a turn also counts its tokens, after it has read how many came before. */
export function ropeTable(at: usize, _rows: i32): void {
  const op = changetype<RopeTable>(at), freq = op.freq, y = op.y, r = op.r, row = rowBytes(r), type = op.fedType, turns = turnCount();
  for (let turn = firstOf(turns), end = endOf(turns); turn < end; turn++) {
    const state = stateOf(op.fed, turn), scale = type == STATE_I8_DYNAMIC ? state + keptBytes(type, 1) : op.fedScale;
    const begin = firstRow(turn), stop = endRow(turn), fed = type == STATE_F32 ? state : own();
    if (type != STATE_F32) readState(type, state, scale, fed, 1);
    const before = load<f32>(fed);
    for (let t = begin; t < stop; t++) {
      const position = before + <f32>(t - begin);
      for (let i: usize = 0; i < <usize>r << 2; i += 4)
        store<f32>(y + row * t + i, sine(<f64>(position * load<f32>(freq + i)), op.sine ? 0 : 1));
    }
    v128.store(fed, f32x4.replace_lane(splat(0), 0, before + <f32>(stop - begin)));
    if (type == STATE_I8_DYNAMIC) v128.store(scale, measuredSteps(fed, 1));
    if (type != STATE_F32) writeState(type, fed, scale, state, 1);
  }
}

const SIN = memory.data<f64>([
  -1.0 / 1307674368000, 1.0 / 6227020800, -1.0 / 39916800, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1,
]);
const COS = memory.data<f64>([
  1.0 / 20922789888000, -1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1,
]);
const TWO_PI: f64 = 0.6366197723675814, MAGIC: f64 = 6755399441055744, PIO2_HI: f64 = 1.5707963267341256;
const PIO2_LO: f64 = 6.077100506506192e-11, MOST_ANGLE: f64 = 1048576;

/** sin(x + quarter · π/2). */
function sine(x: f64, quarter: i32): f32 {
  if (!(abs<f64>(x) <= MOST_ANGLE)) return NaN;
  const n = x * TWO_PI + MAGIC - MAGIC;
  const r = x - n * PIO2_HI - n * PIO2_LO;
  const z = r * r;
  const turn = <i32>n + quarter, isCosine = (turn & 1) != 0;
  let p: f64 = 0;
  for (let at = isCosine ? COS : SIN, end = isCosine ? COS + 72 : SIN + 64; at < end; at += 8) p = p * z + load<f64>(at);
  if (!isCosine) p *= r;
  return <f32>(turn & 2 ? -p : p);
}
