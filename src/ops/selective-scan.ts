/**
 * Runs the selective state space model over the tokens: the recurrence at the heart of Mamba.
 *
 *   h[t] = exp(dt·A) ∘ h[t−1] + (dt·u) B         for each channel, over its n states
 *   y[t] = ( Σ_n C·h[t] + D·u ) · silu(z)
 *
 *              B[t] dt[t]·u[t]        C[t]
 *                 ╲   │                │
 *   h[t−1] ──×exp(dt·A)──(+)── h[t] ──(·)──(+ D·u)──(× silu z)── y[t]
 *
 * Shapes   u, dt, z f32[l, d]; A f32[d, n]; B, C f32[l, n]; D f32[d]; D and z may be absent → y f32[l, d].
 *          dt is after softplus, A is −exp(A_log)
 * State    h f32[d, n], carried from token to token for the whole text; zeros at its start. Its type may keep it in f16 or
 *          in int8: then it is rounded after every token, so that any cut of a text gives the same, and y is made of h
 *          before it is rounded
 * Numerics the sum over the states s = 0 … n−1 runs in 4 lanes that start at +0. exp2 and silu are those of numerics.ts.
 *          For each token t and channel c, t ascending:
 *            a     = fround(A[c, s] · log2 e)                log2 e as f32: 3fb8aa3b
 *            decay = exp2(fround(dt · a))
 *            h[s]  = fround(fround(decay · h[s]) + fround(fround(dt · u) · B[s]))
 *            lane  = fround(lane + fround(h[s] · C[s]))      lane s mod 4, s ascending
 *            sum   = fround(fround(lane 0 + lane 2) + fround(lane 1 + lane 3))
 *            sum   = fround(sum + fround(D · u))             where there is a D
 *            y     = fround(sum · silu(z))                   where there is a z, else sum
 *          Exact by this order. In f16 h is the nearest value of binary16, ties to even, subnormals included; it saturates at
 *          ±65504, and NaN stays NaN. In int8 h is scale[c] · clamp(round(h / scale[c])), rounded as by quantize; NaN becomes 0
 * Errors   none beyond the signature
 * Example  selectiveScan({ u: [1], dt: [0.693147], A: [[-1]], B: [1], C: [2], D: [10] }).y = [11.3863]
 *          selectiveScan({ u: [1], dt: [0.693147], A: [[-1]], B: [1], C: [2], h: [[1]] }).h = [[1.19315]]
 * Source   Mamba alg. 2, eq. 2a, 2b and 4: A discretised by zero-order hold, B by Euler (dt·B) as the official code does
 *          · state-spaces/mamba › selective_scan_ref, selective_state_update (a state in f16). Different: (dt·u)·B there is associated as (dt·B)·u
 */
import { defineOp } from '../op.ts';
import { exp2, silu } from './numerics.ts';

const f = Math.fround;

const LOG2E = f(Math.LOG2E);
const LANES = 4;

export const selectiveScan = defineOp({
  name: 'selective-scan',
  formula: 'h = exp(dt·A) ∘ h + (dt·u) B;  y = (Σ_n C·h + D·u) · silu(z)',
  inputs: {
    u: 'f32[l, d]',
    dt: 'f32[l, d]',
    A: 'f32[d, n]',
    B: 'f32[l, n]',
    C: 'f32[l, n]',
    D: 'f32[d]?',
    z: 'f32[l, d]?',
  },
  outputs: { y: 'f32[l, d]' },
  states: { h: 'f32[d, n]' },
  reference: ({ u, dt, A, B, C, D, z }, _, { y }, { l, d, n }, { h }) => {
    const a = A.data.map(value => f(value * LOG2E));
    const next = new Float32Array(n);
    const lanes = new Float32Array(LANES);
    for (let t = 0; t < l; t++)
      for (let c = 0; c < d; c++) {
        const step = dt.data[t * d + c];
        const input = f(step * u.data[t * d + c]);
        lanes.fill(0);
        for (let s = 0; s < n; s++) {
          const decay = exp2(f(step * a[c * n + s]));
          next[s] = f(f(decay * h.data[c * n + s]) + f(input * B.data[t * n + s]));
          lanes[s % LANES] = f(lanes[s % LANES] + f(next[s] * C.data[t * n + s]));
        }
        h.put(c * n, next);
        let sum = f(f(lanes[0] + lanes[2]) + f(lanes[1] + lanes[3]));
        if (D) sum = f(sum + f(D.data[c] * u.data[t * d + c]));
        y.data[t * d + c] = z ? f(sum * silu(z.data[t * d + c])) : sum;
      }
  },
  sweep: { l: [1, 2, 9], d: [1, 3, 4, 5, 17], n: [1, 3, 4, 5, 16] },
});
