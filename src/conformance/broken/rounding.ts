/** Bugs of rounding, saturation and scales. */
import { ops } from '../../ops/index.ts';
import { unpacked } from '../../ops/nibbles.ts';
import { roundEven } from '../../ops/numerics.ts';
import { type Broken, inEveryKernel, inKernel, mapped, misreading, tensorsOf } from './row.ts';

const f = Math.fround;

const { absmaxScale, linearI4, linearI8, quantize } = ops;

const clamp = (x: number): number => Math.min(Math.max(x, -128), 127);

const quantizing = (name: string, says: string, code: (x: number, scale: number) => number): Broken =>
  inKernel(name, says, quantize, ({ x, scale }, _, { q }, { n, s }) => {
    for (let i = 0; i < q.data.length; i++)
      q.data[i] = code(x.data[i], scale.data[s === 1 ? 0 : Math.floor(i / n)]);
  });

/** An int32 that is stored as int16 keeps its lower half. */
const toInt16 = (x: number): number => (x << 16) >> 16;
const saturateInt16 = (x: number): number => Math.min(Math.max(x, -32768), 32767);

/** `add` is what becomes of a sum and the next two products. */
const multiplyingI8 = (
  name: string,
  says: string,
  add: (acc: number, first: number, second: number) => number,
): Broken =>
  inKernel(name, says, linearI8, ({ x, xscale, w, wscale, b }, _, { y }, { l, i, o, s, p, g }) => {
    const run = i / g;
    for (let t = 0; t < l; t++)
      for (let row = 0; row < o; row++) {
        const product = (k: number) => x.data[t * i + k] * w.data[row * i + k];
        let sum = b ? b.data[row] : 0;
        for (let group = 0; group < g; group++) {
          const end = (group + 1) * run;
          let acc = 0;
          for (let k = group * run; k < end; k += 2)
            acc = add(acc, product(k), k + 1 < end ? product(k + 1) : 0);
          const scale = f(xscale.data[s === 1 ? 0 : t] * wscale.data[(p === 1 ? 0 : row) * g + group]);
          sum = f(sum + f(f(acc) * scale));
        }
        y.data[t * o + row] = sum;
      }
  });

const TINY = 2 ** -126;

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const roundingBugs: readonly Broken[] = [
  quantizing('quantize-half-away', 'Ties go away from zero.', (x, scale) => {
    const steps = f(x / scale);
    return clamp(Math.sign(steps) * Math.floor(Math.abs(steps) + 0.5));
  }),
  quantizing('quantize-half-up', 'Ties go up, as Math.round has it.',
    (x, scale) => clamp(Math.round(f(x / scale)))),
  quantizing('quantize-truncates', 'A cast in place of rounding: all goes toward zero.',
    (x, scale) => clamp(Math.trunc(f(x / scale)))),
  quantizing('quantize-does-not-clamp', 'No saturation: 128 wraps to −128.',
    (x, scale) => Math.abs(f(x / scale)) < 2 ** 22 ? roundEven(f(x / scale)) : 0),
  quantizing('quantize-wraps-far-values',
    'Saturates by way of int16, so that what is beyond ± 32768 wraps first.', (x, scale) =>
      clamp(toInt16(Math.round(f(x / scale)) === f(x / scale) ? f(x / scale) : roundEven(f(x / scale))))),
  quantizing('quantize-clamps-at-minus-127', 'A symmetric range: −128 is never reached.',
    (x, scale) => Math.max(roundEven(clamp(f(x / scale))), -127)),
  quantizing('quantize-by-reciprocal', 'Multiplies by 1 / scale in place of dividing.',
    (x, scale) => roundEven(clamp(f(x * f(1 / scale))))),
  misreading('quantize-first-scale', 'Every token has the scale of the first.',
    quantize, ({ scale }) => ({ scale: mapped(scale, () => scale.data[0]) })),
  inKernel('absmax-scale-no-floor', 'A row of zeros has the scale 0.',
    absmaxScale, ({ x }, _, { scale }, { l, n }) => {
      for (let t = 0; t < l; t++)
        scale.data[t] = f(Math.max(...x.data.subarray(t * n, (t + 1) * n).map(Math.abs)) / 127);
    }),
  misreading('absmax-scale-forgets-negatives', 'The largest x in place of the largest |x|.',
    absmaxScale, ({ x }) => ({ x: mapped(x, v => Math.max(v, 0)) })),
  inKernel('absmax-scale-by-128', 'The range maps to 128 steps in place of 127.',
    absmaxScale, (inputs, attrs, outputs, dims) => {
      absmaxScale.reference(inputs, attrs, outputs, dims);
      for (const [t, scale] of outputs.scale.data.entries()) outputs.scale.data[t] = f((scale * 127) / 128);
    }),
  multiplyingI8('linear-i8-saturates-pairs',
    'Two products are added with int16 saturation, as an unsigned byte product of SSSE3 does.',
    (acc, first, second) => acc + saturateInt16(first + second)),
  multiplyingI8('linear-i8-int16-sum', 'The sum is kept in int16 and wraps.',
    (acc, first, second) => toInt16(acc + first + second)),
  misreading('linear-i8-first-scale', 'Every token has the scale of the first.',
    linearI8, ({ xscale }) => ({ xscale: mapped(xscale, () => xscale.data[0]) })),
  inKernel('linear-i4-lowest-positive', 'A half of −8 is taken for 8.',
    linearI4, (inputs, attrs, outputs, dims) => {
      const w = unpacked(inputs.w, dims.i);
      const data = w.data.map(each => (each === -8 ? 8 : each));
      linearI8.reference({ ...inputs, w: { ...w, data } }, attrs, outputs, { ...dims, p: dims.o });
    }),
  inKernel('linear-i8-scales-one-by-one',
    '(acc · s_x) · s_w in place of acc · (s_x · s_w): three roundings, others than the reference.',
    linearI8, (inputs, attrs, outputs, dims) => {
      const { wscale, b, ...rest } = inputs;
      const { l, o, i, p, g } = dims;
      if (g !== 1) return linearI8.reference(inputs, attrs, outputs, dims);
      const one = { ...wscale, data: wscale.data.map(() => 1) };
      linearI8.reference({ ...rest, wscale: one }, attrs, outputs, { ...dims, l, i });
      for (let at = 0; at < l * o; at++) {
        const y = f(outputs.y.data[at] * wscale.data[p === 1 ? 0 : at % o]);
        outputs.y.data[at] = b ? f(y + b.data[at % o]) : y;
      }
    }),
  inEveryKernel('minus-zero-lost', 'Every −0 comes out as +0.',
    right => (inputs, attrs, outputs, dims, states) => {
      right(inputs, attrs, outputs, dims, states);
      for (const { data } of tensorsOf(outputs)) for (const [i, x] of data.entries()) data[i] = x + 0;
    }),
  inEveryKernel('denormals-flushed', 'Every result below 2⁻¹²⁶ comes out as 0.',
    right => (inputs, attrs, outputs, dims, states) => {
      right(inputs, attrs, outputs, dims, states);
      for (const { data } of tensorsOf(outputs))
        for (const [i, x] of data.entries()) if (Math.abs(x) < TINY) data[i] = 0;
    }),
];
