/** Bugs that show on zeros of one sign, or where a function inside of an op is taken for its limit too early. */
import { factor } from '../../ops/hadamard.ts';
import { ops } from '../../ops/index.ts';
import { silu } from '../../ops/numerics.ts';
import { tokensOf } from '../named.ts';
import { type Broken, inKernel, mistaken } from './row.ts';

const f = Math.fround;

const { causalConv1d, fwht, linear, linearI8, selectiveScan } = ops;

const LANES = 4;

/** What becomes of the bias where the sum before it is 0. */
const copied = (y: number, bias: number | undefined): number => (y === 0 && bias === 0 ? bias : y);
const SILU_LINEAR = 16;
const siluTooEarly = (x: number): number => (x >= SILU_LINEAR ? x : silu(x));

/** A convolution whose sums become `of` them before the activation, which is `activate`. */
const convolving = (
  name: string,
  says: string,
  of: (sum: number) => number,
  activate: (x: number) => number,
): Broken =>
  inKernel(name, says, causalConv1d, (inputs, { activation }, { y }, dims, states) => {
    causalConv1d.reference(inputs, { activation: 'none' }, { y }, dims, states);
    for (const [i, sum] of y.data.entries()) y.data[i] = activation === 'none' ? of(sum) : activate(of(sum));
  });

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const endBugs: readonly Broken[] = [
  convolving('conv-from-zero', 'The sum begins at +0, not with the first product.', sum => sum + 0, silu),
  mistaken('fwht-from-zero', 'The sums of M_K begin at +0, not with the first term.',
    fwht, { output: (y, _, __, { n }) => (factor(n)!.base.length > 1 ? y + 0 : y) }),
  inKernel('scan-lanes-from-first', 'A lane begins with its first product, not at +0.',
    selectiveScan, (inputs, attrs, outputs, dims, { h }) => {
      const { d, n } = dims;
      for (let t = 0; t < dims.l; t++) {
        const given = tokensOf(selectiveScan.inputs, inputs, t, 1) as typeof inputs;
        const { y } = tokensOf(selectiveScan.outputs, outputs, t, 1) as typeof outputs;
        selectiveScan.reference(given, attrs, { y }, { ...dims, l: 1 }, { h });
        const { u, C, D, z } = given;
        for (let c = 0; c < d && n >= LANES; c++) {
          if (!C.data.every((value, s) => Object.is(f(h.data[c * n + s] * value), -0))) continue;
          const sum = D ? f(-0 + f(D.data[c] * u.data[c])) : -0;
          y.data[c] = z ? f(sum * silu(z.data[c])) : sum;
        }
      }
    }),
  mistaken('linear-copies-the-bias', 'Where the sum is 0 the bias is copied, its sign too.',
    linear, { output: (y, at, { b }, { o }) => copied(y, b?.data[at % o]) }),
  mistaken('linear-i8-copies-the-bias', 'Where the sum is 0 the bias is copied, its sign too.',
    linearI8, { output: (y, at, { b }, { o }) => copied(y, b?.data[at % o]) }),
  convolving('conv-silu-linear-from-16', 'silu(x) is taken for x from 16 on; it is that from 18 on.',
    sum => sum, siluTooEarly),
  mistaken('scan-silu-linear-from-16', 'silu(z) is taken for z from 16 on; it is that from 18 on.',
    selectiveScan, {
      inputs: () => ({ z: undefined }),
      output: (sum, i, { z }) => (z ? f(sum * siluTooEarly(z.data[i])) : sum),
    }),
];
