/**
 * Runs the selective state space model with a state that is kept in 8 bits: a quarter of what a text in progress takes.
 *
 *   h[t] = exp(dt·A) ∘ k[t−1] + (dt·u) B                          as in selective-scan
 *   y[t] = ( Σ_n C·h[t] + D·u ) · silu(z)                         from h before it is rounded
 *   k[t] = scale ∘ clamp( round(h[t] / scale), −128, 127 )        what the next token finds
 *
 * Shapes   as in selective-scan; scale f32[d], positive, the step of a channel's states. The state is f32[d, n] whose every value
 *          is an int8 times its step: one byte of each is to be kept
 * State    k f32[d, n], rounded after every token, so that any cut of a text gives the same; zeros at its start
 * Numerics as in selective-scan. q is rounded as by quantize, k = fround(scale · q) as by dequantize; NaN, which int8 does not
 *          have, becomes 0 (the token's y shows it). A state that is given is rounded first: a k is its own. Exact
 * Errors   none beyond the signature
 * Example  selectiveScanI8state({ u: [1], dt: [1], A: [[0]], B: [0.6], C: [2], scale: [0.5] }).y = [1.2]
 *          selectiveScanI8state({ u: [1], dt: [1], A: [[0]], B: [0.6], C: [2], scale: [0.5] }).state = [[0.5]]
 * Source   Mamba alg. 2 · Quamba (symmetric uniform quantization). Different: the official code keeps this state in f16
 */
import { defineOp } from '../op.ts';
import { f } from './numerics.ts';
import { quantizeValue } from './quantize.ts';
import { inputs, outputs, scanKeeping } from './selective-scan.ts';

/** The int8 that a state is kept as. */
export const stepsOf = (h: number, scale: number): number => quantizeValue(h, scale) || 0; // NaN and −0, too

export const selectiveScanI8state = defineOp({
  name: 'selective-scan-i8state',
  formula:
    'h = exp(dt·A) ∘ k + (dt·u) B;  y = (Σ_n C·h + D·u) · silu(z);  k = scale ∘ clamp(round(h / scale), −128, 127)',
  inputs: { ...inputs, scale: 'f32[d]' },
  outputs,
  reference: (given, attrs, made, dims) => {
    const { data: scale } = given.scale;
    const kept = (h: number, c: number) => f(scale[c] * stepsOf(h, scale[c]));
    scanKeeping(kept)(given, attrs, made, dims);
  },
  sweep: { l: [1, 2, 9], d: [1, 3, 4, 5, 17], n: [1, 3, 4, 5, 16] },
});
