/** Bugs of a state in int8 whose steps are measured, in the scan of Mamba-2. */
import { ssdScan } from '../../ops/ssd-scan.ts';
import { AS_F32, measuredStep, stateView, stepsOf } from '../../state.ts';
import { tokensOf } from '../named.ts';
import { type Broken, inKernel } from './row.ts';

const f = Math.fround;

/** What is done another way when a state is kept. */
interface Ways {
  /** The step of the row that begins at `begin` of a whole state. What is remembered is of one call. */
  readonly stepOf?: () => (row: Float32Array, begin: number, whole: Float32Array) => number;
  readonly codeOf?: (value: number, step: number) => number;
  /** After each token, or after all of a call. */
  readonly after?: 'token' | 'call';
  /** y is made of what is kept. */
  readonly readsKept?: true;
}

const keeping = (name: string, says: string, ways: Ways): Broken => {
  const { stepOf = () => measuredStep, codeOf = stepsOf, after = 'token', readsKept } = ways;
  const kernel: typeof ssdScan.reference = (inputs, attrs, outputs, dims, { S }) => {
    if (S.dtype !== 'i8-dynamic') return ssdScan.reference(inputs, attrs, outputs, dims, { S });
    const step = stepOf();
    const l = after === 'token' ? 1 : dims.l;
    for (let t = 0; t < dims.l; t += l) {
      const given = tokensOf(ssdScan.inputs, inputs, t, l) as typeof inputs;
      const made = tokensOf(ssdScan.outputs, outputs, t, l) as typeof outputs;
      const whole = stateView(AS_F32, S.shape, S.data.slice());
      ssdScan.reference(given, attrs, made, { ...dims, l }, { S: whole });
      for (let begin = 0; begin < S.data.length; begin += dims.p) {
        const row = whole.data.subarray(begin, begin + dims.p);
        const ofRow = step(row, begin, whole.data);
        S.data.set(
          row.map(value => f(ofRow * codeOf(value, ofRow))),
          begin,
        );
      }
      // a step of 0 leaves the state, and y is what is read of it
      if (readsKept)
        ssdScan.reference(
          given,
          { ...attrs, lo: 0, hi: 0 },
          made,
          { ...dims, l },
          { S: stateView(AS_F32, S.shape, S.data.slice()) },
        );
    }
  };
  return { ...inKernel(name, says, ssdScan, kernel), op: 'ssd-scan/i8-dynamic' };
};

/** The step of a row without some of its rules. */
const stepBy =
  ({ least = f(1e-5), greatest = f(3.4e38), lost = 0xff }) =>
  (row: Float32Array): number => {
    const most = row.reduce((most, value) => Math.max(most, Math.abs(value) || 0), least);
    const bits = new Int32Array(Float32Array.of(Math.min(most, greatest) / 127).buffer);
    bits[0] = (bits[0] + lost) & ~lost;
    return new Float32Array(bits.buffer)[0];
  };

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const dynamicBugs: readonly Broken[] = [
  keeping('ssd-dynamic-step-of-the-state', 'One step is measured over the whole state in place of one for each row.',
    { stepOf: () => (_, __, whole) => measuredStep(whole) }),
  keeping('ssd-dynamic-step-of-24-digits', 'The step is not rounded up to 16 binary digits.',
    { stepOf: () => stepBy({ lost: 0 }) }),
  keeping('ssd-dynamic-step-of-first-token', 'The step of a row is measured when it is first written, and kept for the tokens after it.',
    {
      stepOf: () => {
        const first = new Map<number, number>();
        return (row, begin) => first.get(begin) ?? first.set(begin, measuredStep(row)).get(begin)!;
      },
    }),
  keeping('ssd-dynamic-reads-what-it-keeps', 'y is made of S after it is rounded.', { readsKept: true }),
  keeping('ssd-dynamic-no-floor', 'A row of next to nothing has a step of next to nothing: the floor is missing.',
    { stepOf: () => stepBy({ least: 0 }) }),
  keeping('ssd-dynamic-rounds-once', 'S is rounded after all tokens of a call in place of after each.', { after: 'call' }),
  keeping('ssd-dynamic-minus-zero', 'A value that is rounded to −0 stays so.',
    { codeOf: (value, step) => stepsOf(value, step) || (value < 0 ? -0 : 0) }),
  keeping('ssd-dynamic-overflows', 'The step of a huge row is not limited, so that 127 of it overflow.',
    { stepOf: () => stepBy({ greatest: Number.POSITIVE_INFINITY }) }),
];
