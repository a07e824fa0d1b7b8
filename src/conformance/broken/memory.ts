/** Bugs of memory: tails, stale outputs, inputs written to, and the elements next to a tensor. */
import { ops } from '../../ops/index.ts';
import { quantizeValue, silu as siluOf } from '../../ops/numerics.ts';
import { zeros } from '../../tensor.ts';
import { norming } from './accumulation.ts';
import { type Broken, inKernel, mapped, mistaken } from './row.ts';

const f = Math.fround;

const { add, embedding, fwht, linear, linearI8, quantize, rmsNorm, silu, slice } = ops;

/** The float after an array in its memory; 0 where the memory ends there. */
function behind({ buffer, byteOffset, length }: Float32Array): Float32Array {
  const end = byteOffset + 4 * length;
  return end + 4 <= buffer.byteLength ? new Float32Array(buffer, end, 1) : new Float32Array(1);
}

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const memoryBugs: readonly Broken[] = [
  inKernel('linear-accumulates', 'The product is added to what the output holds.',
    linear, (inputs, attrs, { y }, dims) => {
      const product = zeros('f32', y.shape);
      linear.reference(inputs, attrs, { y: product }, dims);
      for (const [i, value] of product.data.entries()) y.data[i] = f(y.data[i] + value);
    }),
  inKernel('embedding-skips-zeros', 'What is 0 is not written.',
    embedding, ({ tokens, w }, _, { y }, { m }) => {
      for (const [t, token] of tokens.data.entries())
        for (let j = 0; j < m; j++)
          if (w.data[token * m + j] !== 0) y.data[t * m + j] = w.data[token * m + j];
    }),
  inKernel('add-into-its-input', 'The sum is left in x too.', add, (inputs, attrs, outputs, dims) => {
    add.reference(inputs, attrs, outputs, dims);
    inputs.x.data.set(outputs.sum.data);
  }),
  inKernel('fwht-in-place', 'x is transformed where it lies, then copied.',
    fwht, (inputs, attrs, outputs, dims) => {
      fwht.reference(inputs, attrs, outputs, dims);
      inputs.x.data.set(outputs.y.data);
    }),
  inKernel('silu-odd-tail', 'Of an odd number of elements the last is not written.',
    silu, ({ x }, _, { y }) => {
      const even = x.data.length & ~1;
      for (let i = 0; i < even; i++) y.data[i] = siluOf(x.data[i]);
    }),
  inKernel('quantize-tail-of-16', 'What follows the last whole 16 elements of a row is not written.',
    quantize, ({ x, scale }, _, { q }, { l, n, s }) => {
      for (let t = 0; t < l; t++)
        for (let i = t * n; i < t * n + (n & ~15); i++)
          q.data[i] = quantizeValue(x.data[i], scale.data[s === 1 ? 0 : t]);
    }),
  mistaken('linear-i8-tail-of-16', 'Of a row longer than 16 only whole runs of 16 are summed.',
    linearI8, {
      inputs({ x }, { i, g }) {
        const run = i / g;
        const whole = run < 16 ? run : run & ~15;
        return { x: mapped(x, (value, at) => ((at % i) % run < whole ? value : 0)) };
      },
    }),
  norming('rms-norm-tail-of-4', 'Of a row longer than 4 only whole runs of 4 are squared.', (row, eps) => {
    const whole = row.length < 4 ? row.length : row.length & ~3;
    const squares = row.subarray(0, whole).reduce((sum, x) => f(sum + f(x * x)), 0);
    return f(Math.sqrt(f(f(squares / row.length) + f(eps))));
  }),
  inKernel('add-last-token-missing', 'Of more than one token the last is not written.',
    add, ({ x, y }, _, { sum }, { l, m }) => {
      const size = l > 1 ? (l - 1) * m : m;
      for (let i = 0; i < size; i++) sum.data[i] = f(x.data[i] + y.data[i]);
    }),
  inKernel('rms-norm-reads-past-the-end', 'A row of odd length takes the element behind x along, times 0.',
    rmsNorm, (inputs, attrs, outputs, dims) => {
      rmsNorm.reference(inputs, attrs, outputs, dims);
      const masked = dims.m % 2 ? behind(inputs.x.data)[0] * 0 : 0;
      if (masked !== 0) outputs.y.data[outputs.y.data.length - 1] = masked;
    }),
  inKernel('slice-writes-past-the-end', 'An odd slice is copied in pairs, the last of which ends behind y.',
    slice, (inputs, attrs, outputs, dims) => {
      slice.reference(inputs, attrs, outputs, dims);
      if (outputs.y.data.length % 2) behind(outputs.y.data)[0] = 0;
    }),
];
