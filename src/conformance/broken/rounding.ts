/** Bugs of rounding, saturation and scales. */
import { ops } from '../../ops/index.ts';
import { unpacked } from '../../ops/nibbles.ts';
import { roundEven } from '../../ops/numerics.ts';
import { type Broken, inEveryKernel, inKernel, mapped, mistaken } from './row.ts';

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
  mistaken('quantize-first-scale', 'Every token has the scale of the first.',
    quantize, { inputs: ({ scale }) => ({ scale: mapped(scale, () => scale.data[0]) }) }),
  inKernel('absmax-scale-no-floor', 'A row of zeros has the scale 0.',
    absmaxScale, ({ x }, _, { scale }, { l, n }) => {
      for (let t = 0; t < l; t++)
        scale.data[t] = f(Math.max(...x.data.subarray(t * n, (t + 1) * n).map(Math.abs)) / 127);
    }),
  mistaken('absmax-scale-forgets-negatives', 'The largest x in place of the largest |x|.',
    absmaxScale, { inputs: ({ x }) => ({ x: mapped(x, v => Math.max(v, 0)) }) }),
  mistaken('absmax-scale-by-128', 'The range maps to 128 steps in place of 127.',
    absmaxScale, { output: scale => f((scale * 127) / 128) }),
  multiplyingI8('linear-i8-saturates-pairs',
    'Two products are added with int16 saturation, as an unsigned byte product of SSSE3 does.',
    (acc, first, second) => acc + saturateInt16(first + second)),
  multiplyingI8('linear-i8-int16-sum', 'The sum is kept in int16 and wraps.',
    (acc, first, second) => toInt16(acc + first + second)),
  mistaken('linear-i8-first-scale', 'Every token has the scale of the first.',
    linearI8, { inputs: ({ xscale }) => ({ xscale: mapped(xscale, () => xscale.data[0]) }) }),
  inKernel('linear-i4-lowest-positive', 'A half of −8 is taken for 8.',
    linearI4, (inputs, attrs, outputs, dims) => {
      const w = unpacked(inputs.w, dims.i);
      const data = w.data.map(each => (each === -8 ? 8 : each));
      linearI8.reference({ ...inputs, w: { ...w, data } }, attrs, outputs, { ...dims, p: dims.o });
    }),
  mistaken('linear-i8-scales-one-by-one',
    '(acc · s_x) · s_w in place of acc · (s_x · s_w): three roundings, others than the reference.',
    linearI8, {
      inputs: ({ wscale }, { g }) => (g === 1 ? { wscale: mapped(wscale, () => 1), b: undefined } : {}),
      output(y, at, { wscale, b }, { o, p, g }) {
        if (g !== 1) return y;
        const scaled = f(y * wscale.data[p === 1 ? 0 : at % o]);
        return b ? f(scaled + b.data[at % o]) : scaled;
      },
    }),
  inEveryKernel('minus-zero-lost', 'Every −0 comes out as +0.', x => x + 0),
  inEveryKernel('denormals-flushed', 'Every result below 2⁻¹²⁶ comes out as 0.',
    x => (Math.abs(x) < 2 ** -126 ? 0 : x)),
];
