/**
 * Gives 4-bit steps, two in a byte, their real size back.
 *
 *   x[t, j] = scale[t, group of j] · q[t, j]
 *
 *   byte   q[t, 2j+1] · 16 + q[t, 2j]      the even column is the low half; two's complement, −8 … 7
 *
 * Shapes   q i8[l, h] of packed pairs, h = ⌈n/2⌉, scale f32[l, g]: one for each row and each run of n/g columns, of any
 *          sign → x f32[l, n]
 * Numerics one f32 rounding of each product. The upper half of a row's last byte, where n is odd, is not looked at. Exact
 * Errors   C1 … C2
 * Example  dequantizeI4({ q: [[0x87]], scale: [[0.5]] }, { n: 2 }).x = [3.5, -4]
 * Source   as linear-i4; it is how weights of 4 bits meet float activations (W4A16)
 */
import { defineOp } from '../op.ts';
import { nibble, packedColumns } from './nibbles.ts';

const f = Math.fround;

export const dequantizeI4 = defineOp({
  name: 'dequantize-i4',
  formula: 'x = scale_group · q',
  inputs: { q: 'i8[l, h]', scale: 'f32[l, g]' },
  outputs: { x: 'f32[l, n]' },
  attrs: { n: 1 } as { readonly n: number },
  constraints: {
    C1: ['a row of q must hold n halves of bytes', ({ h, n }) => n >= 1 && h === packedColumns(n)],
    C2: ['the groups g must divide n', ({ g, n }) => n % g === 0],
  },
  reference: ({ q, scale }, { n }, { x }, { l, h, g }) => {
    const size = n / g;
    for (let t = 0; t < l; t++)
      for (let j = 0; j < n; j++)
        x.data[t * n + j] = f(scale.data[t * g + Math.floor(j / size)] * nibble(q.data, t * h, j));
  },
  sweep: { l: [1, 3], n: [1, 2, 15, 16, 17, 768] },
});
