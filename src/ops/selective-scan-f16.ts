/**
 * Runs the selective state space model with a state that is kept in 16 bits: half of what a text in progress takes.
 *
 *   h[t] = exp(dt·A) ∘ k[t−1] + (dt·u) B         as in selective-scan
 *   y[t] = ( Σ_n C·h[t] + D·u ) · silu(z)        from h before it is rounded
 *   k[t] = half(h[t])                            what the next token finds
 *
 * Shapes   as in selective-scan. The state is f32[d, n] whose every value is one of IEEE binary16
 * State    k f32[d, n], rounded after every token, so that any cut of a text gives the same; zeros at its start
 * Numerics as in selective-scan. half is to the nearest value of binary16, ties to even, subnormals included; beyond ±65504 it
 *          saturates; NaN stays NaN. A state that is given is rounded first. Exact
 * Errors   none beyond the signature
 * Example  selectiveScanF16({ u: [1], dt: [1], A: [[0]], B: [0.10001], C: [2] }).y = [0.20002]
 *          selectiveScanF16({ u: [1], dt: [1], A: [[0]], B: [0.10001], C: [2] }).state = [[0.100037]]
 * Source   Mamba alg. 2 · IEEE 754 binary16 · state-spaces/mamba › selective_state_update (state in f16). Different: rounded after
 *          each token of a prompt, too
 */
import { defineOp } from '../op.ts';
import { half } from './half.ts';
import { inputs, outputs, scanKeeping } from './selective-scan.ts';

export const selectiveScanF16 = defineOp({
  name: 'selective-scan-f16',
  formula: 'h = exp(dt·A) ∘ k + (dt·u) B;  y = (Σ_n C·h + D·u) · silu(z);  k = half(h)',
  inputs,
  outputs,
  reference: scanKeeping(half),
  sweep: { l: [1, 2, 9], d: [1, 3, 4, 5, 17], n: [1, 3, 4, 5, 16] },
});
