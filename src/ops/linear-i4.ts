/**
 * Multiplies each row of int8 values by a weight matrix of 4-bit integers, two in a byte, and gives the result its real size.
 *
 *   y = s_x · Σ_group s_w[group] · (x Wᵀ over the group) + b
 *
 *   byte   w[row, 2j+1] · 16 + w[row, 2j]      the even column is the low half; two's complement, −8 … 7
 *
 * Shapes   x i8[l, i], xscale f32[1] (static) or f32[l] (per token), w i8[o, h] of packed pairs, h = ⌈i/2⌉,
 *          wscale f32[o, g]: one for each output and each run of i/g inputs, of any sign; b f32[o] or absent → y f32[l, o]
 * Numerics linear-i8 on the unpacked weights: the int32 sums are exact in any order (|x w| ≤ 1024, so i ≤ 2097151 cannot
 *          overflow); for each group fround(fround(acc) · m) with m = fround(s_x · s_w), added in ascending order, then b.
 *          The upper half of a row's last byte, where i is odd, is not looked at. Exact
 * Errors   C1 … C4
 * Example  linearI4({ x: [100, -50], xscale: [0.01], w: [[0x87]], wscale: [[0.02]] }).y = [0.22]
 * Source   weights in groups of 128 columns with int8 activations (W4A8), as in Quamba2, arXiv 2503.22879, and QQQ,
 *          arXiv 2406.09904. Different: a group's scale is a float, not a float and an integer · the order of the halves is
 *          that of ONNX's INT4
 */
import { defineOp } from '../op.ts';
import { linearI8 } from './linear-i8.ts';
import { packedColumns, unpacked } from './nibbles.ts';

export const linearI4 = defineOp({
  name: 'linear-i4',
  formula: 'y = s_x · Σ_group s_w · (x Wᵀ) + b',
  inputs: { x: 'i8[l, i]', xscale: 'f32[s]', w: 'i8[o, h]', wscale: 'f32[o, g]', b: 'f32[o]?' },
  outputs: { y: 'f32[l, o]' },
  constraints: {
    C1: ['xscale must have one value or one for each token', ({ s, l }) => s === 1 || s === l],
    C2: ['a row of w must hold i halves of bytes', ({ h, i }) => h === packedColumns(i)],
    C3: ['the groups g must divide i', ({ g, i }) => i % g === 0],
    C4: ['i must be at most 2097151, so that the int32 sum cannot overflow', ({ i }) => i <= 2097151],
  },
  reference: (inputs, attrs, outputs, dims) =>
    linearI8.reference({ ...inputs, w: unpacked(inputs.w, dims.i) }, attrs, outputs, { ...dims, p: dims.o }),
  sweep: { l: [1, 2, 5], i: [1, 3, 16, 24, 384, 1536], o: [1, 7, 16, 17] },
});
