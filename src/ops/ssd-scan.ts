/**
 * Runs the state space model of Mamba-2 over the tokens: the scalar-decay recurrence of structured state space duality (SSD).
 *
 *   S[t] = exp(dt·A) S[t−1] + B ⊗ (dt·x)         for each head, over its n states and p channels
 *   y[t] = Σ_n C·S[t] + D·x,   dt = clamp(softplus(dt + bias), lo, hi)
 *
 *   head 0: a B0 C0   head 1: a B0 C0   head 2: a B1 C1   head 3: a B1 C1      h = 4 heads, g = 2 groups
 *     p channels        p channels        p channels        p channels         one decay a head, B and C shared by a group
 *
 * Shapes   dt f32[l, h]; x f32[l, h·p]; A f32[h, 1]; B, C f32[l, g·n]; D, bias f32[h]; D and bias may be absent → y f32[l, h·p].
 *          Head i reads group ⌊i·g/h⌋ of B and C. dt is before softplus, A is −exp(A_log)
 * State    S f32[h, n, p], carried from token to token for the whole text; zeros at its start. Its type may keep it in f16 or in
 *          int8: then it is rounded after every token, so that any cut of a text gives the same, and y is made of S before it
 *          is rounded
 * Numerics the sum over the states s = 0 … n−1 runs in 4 lanes that start at +0. exp2 and softplus are those of numerics.ts.
 *          For each token t and head i, t ascending:
 *            step  = softplus(fround(dt + bias))             without a bias, of dt
 *            step  = min(max(step, fround(lo)), fround(hi))  NaN stays NaN
 *            decay = exp2(fround(step · fround(A · log2 e))) log2 e as f32: 3fb8aa3b
 *          and for each of its channels c:
 *            input = fround(step · x)
 *            S[s]  = fround(fround(decay · S[s]) + fround(input · B[s]))
 *            lane  = fround(lane + fround(S[s] · C[s]))      lane s mod 4, s ascending
 *            sum   = fround(fround(lane 0 + lane 2) + fround(lane 1 + lane 3))
 *            y     = fround(sum + fround(D · x))             where there is a D, else sum
 *          Exact by this order. f16 and int8 round S as selective-scan does; int8 has a step for each head and state, or
 *          measures it
 * Errors   C1 the groups divide the heads; C2 n is a multiple of 4; C3 0 ≤ lo ≤ hi
 * Example  ssdScan({ dt: [0], x: [1], A: [[-1]], B: [1, 0, 0, 0], C: [2, 0, 0, 0], D: [10] }).y = [11.3863]
 *          ssdScan({ dt: [0], x: [1], A: [[-1]], B: [1, 0, 0, 0], C: [2, 0, 0, 0] }, { lo: 1 }).S = [[[1], [0], [0], [0]]]
 * Source   Mamba-2 (arXiv 2405.21060) eq. 1, 2 and §7.3 · state-spaces/mamba › Mamba2.step; transformers ›
 *          Mamba2Mixer.torch_forward. Its chunked form adds the same terms in another order; here prefill and decode are one order
 */
import { defineOp } from '../op.ts';
import { exp2, softplus } from './numerics.ts';

const f = Math.fround;

const LOG2E = f(Math.LOG2E);
const LANES = 4;
/** The greatest float32: no limit. */
const NO_LIMIT = 3.4028234663852886e38;

export const ssdScan = defineOp({
  name: 'ssd-scan',
  formula: 'S = exp(dt·A) S + B ⊗ (dt·x);  y = Σ_n C·S + D·x;  dt = clamp(softplus(dt + bias), lo, hi)',
  inputs: {
    dt: 'f32[l, h]',
    x: 'f32[l, h*p]',
    A: 'f32[h, 1]',
    B: 'f32[l, g*n]',
    C: 'f32[l, g*n]',
    D: 'f32[h]?',
    bias: 'f32[h]?',
  },
  outputs: { y: 'f32[l, h*p]' },
  states: { S: 'f32[h, n, p]' },
  attrs: { g: 1, lo: 0, hi: NO_LIMIT } as { readonly g: number; readonly lo: number; readonly hi: number },
  constraints: {
    C1: ['the groups g must divide the heads h', ({ g, h }) => g >= 1 && Number.isInteger(g) && h % g === 0],
    C2: ['n must be a multiple of 4', ({ n }) => n % 4 === 0],
    C3: ['lo must be at least 0 and at most hi', ({ lo, hi }) => 0 <= lo && lo <= hi],
  },
  reference: ({ dt, x, A, B, C, D, bias }, { g, lo, hi }, { y }, { l, h, p, n }, { S }) => {
    const row = new Float32Array(p);
    const lanes = new Float32Array(LANES * p);
    for (let t = 0; t < l; t++)
      for (let head = 0; head < h; head++) {
        const raw = dt.data[t * h + head];
        const step = Math.min(Math.max(softplus(bias ? f(raw + bias.data[head]) : raw), f(lo)), f(hi));
        const decay = exp2(f(step * f(A.data[head] * LOG2E)));
        const channels = (t * h + head) * p; // the first of its channels in x and y
        const states = (t * g + Math.floor((head * g) / h)) * n; // the first of its group's states in B and C
        lanes.fill(0);
        for (let s = 0; s < n; s++) {
          const kept = (head * n + s) * p;
          for (let c = 0; c < p; c++) {
            const input = f(step * x.data[channels + c]);
            const lane = (s % LANES) * p + c;
            row[c] = f(f(decay * S.data[kept + c]) + f(input * B.data[states + s]));
            lanes[lane] = f(lanes[lane] + f(row[c] * C.data[states + s]));
          }
          S.put(kept, row);
        }
        for (let c = 0; c < p; c++) {
          const sum = f(f(lanes[c] + lanes[2 * p + c]) + f(lanes[p + c] + lanes[3 * p + c]));
          y.data[channels + c] = D ? f(sum + f(D.data[head] * x.data[channels + c])) : sum;
        }
      }
  },
  sweep: { l: [1, 2, 9], h: [1, 4, 6], p: [1, 3, 4, 5, 32], g: [1, 2], n: [4, 12, 64] },
});
