/** Bugs of Mamba-2's own ops: the scan of heads, and the gated norm. */
import { gatedRmsNorm } from '../../ops/gated-rms-norm.ts';
import { exp2, silu, softplus } from '../../ops/numerics.ts';
import { normalize } from '../../ops/rms-norm.ts';
import { ssdScan } from '../../ops/ssd-scan.ts';
import { stateView } from '../../state.ts';
import { type Broken, inKernel, mapped, mistaken } from './row.ts';
import { forgetful } from './state.ts';

const f = Math.fround;

const LOG2E = f(Math.LOG2E);
const NO_LIMIT = ssdScan.attrs.hi;
const HEADS = 32;

interface Step {
  readonly S: number;
  readonly decay: number;
  readonly input: number;
  readonly b: number;
}

/** What a scan does its own way. */
interface Ways {
  readonly groupOf?: (head: number, g: number, h: number) => number;
  /** Whose decay a channel has, of h. */
  readonly decayOf?: (head: number, channel: number, h: number) => number;
  readonly stepOf?: (dt: number, bias: number) => number;
  readonly next?: (step: Step) => number;
  readonly lanes?: number;
  /** What y is made of: S before it is kept, or what is kept of it. */
  readonly read?: (before: number, kept: number) => number;
}

const scanning = (name: string, says: string, ways: Ways): Broken => {
  const {
    groupOf = (head, g, h) => Math.floor((head * g) / h),
    decayOf = head => head,
    stepOf = (dt, bias) => softplus(f(dt + bias)),
    next = ({ S, decay, input, b }) => f(f(decay * S) + f(input * b)),
    lanes = 4,
    read = before => before,
  } = ways;
  return inKernel(
    name,
    says,
    ssdScan,
    ({ dt, x, A, B, C, D, bias }, { g, lo, hi }, { y }, { l, h, p, n }, { S }) => {
      for (let i = 0; i < l * h * p; i++) {
        const channel = i % (h * p);
        const head = Math.floor(channel / p);
        const t = Math.floor(i / (h * p));
        const step = Math.min(Math.max(stepOf(dt.data[t * h + head], bias?.data[head] ?? 0), f(lo)), f(hi));
        const decay = exp2(f(step * f(A.data[decayOf(head, channel, h)] * LOG2E)));
        const input = f(step * x.data[i]);
        const states = (t * g + groupOf(head, g, h)) * n;
        const sums = new Float32Array(4);
        for (let s = 0; s < n; s++) {
          const kept = (head * n + s) * p + (channel % p);
          const after = next({ S: S.data[kept], decay, input, b: B.data[states + s] });
          S.put(kept, [after]);
          sums[s % lanes] += f(read(after, S.data[kept]) * C.data[states + s]);
        }
        const sum = f(f(sums[0] + sums[2]) + f(sums[1] + sums[3]));
        y.data[i] = D ? f(sum + f(D.data[head] * x.data[i])) : sum;
      }
    },
  );
};

/** S of each head as f32[p, n]. */
const turned = (S: Float32Array, { n, p }: { readonly [letter: string]: number }): Float32Array =>
  S.map((_, i) => {
    const at = i % (n * p);
    return S[i - at + (at % n) * p + Math.floor(at / n)];
  });
/** And back. */
const turnedBack = (S: Float32Array, { n, p }: { readonly [letter: string]: number }): Float32Array =>
  turned(S, { n: p, p: n });

/** The norm of the gated row, by `norm`, which norms the groups of one row: `size` values each. */
const norming = (name: string, says: string, norm: (row: Float32Array, size: number, eps: number) => void) =>
  inKernel(name, says, gatedRmsNorm, ({ x, z, w }, { eps, g }, { y }, { l, d }) => {
    for (let t = 0; t < l; t++) {
      const row = x.data.slice(t * d, (t + 1) * d).map((value, c) => f(value * silu(z.data[t * d + c])));
      norm(row, d / g, f(eps));
      y.data.set(w ? row.map((value, c) => f(value * w.data[c])) : row, t * d);
    }
  });

/** The mean of the squares of a group, added in 32 lanes, which begin again after the first `lead` squares. */
function meanSquare(group: Float32Array, lead: number): number {
  const lanes = new Float32Array(32);
  for (const [k, value] of group.entries()) lanes[k < lead ? k : (k - lead) % 32] += f(value * value);
  for (let half = 16; half >= 1; half /= 2)
    for (let lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
  return f(lanes[0] / group.length);
}
/** Divides each group of a row by what `factorOf` makes of its mean. */
const dividing =
  (factorOf: (mean: number, eps: number) => number, leadOf = (_begin: number) => 0) =>
  (row: Float32Array, size: number, eps: number): void => {
    for (let at = 0; at < row.length; at += size) {
      const group = row.subarray(at, at + size);
      const factor = factorOf(meanSquare(group, leadOf(at)), eps);
      group.set(group.map(value => value * factor));
    }
  };

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const ssdBugs: readonly Broken[] = [
  scanning('ssd-decay-of-channels', 'A is read for each channel, as Mamba has it, not for each head.',
    { decayOf: (_, channel, h) => channel % h }),
  scanning('ssd-group-modulo', 'Head i reads group i mod g of B and C, not ⌊i·g/h⌋.', { groupOf: (head, g) => head % g }),
  mistaken('ssd-one-group', 'All heads read the first group of B and C.', ssdScan, {
    inputs: ({ B, C }, { n, g }) => {
      const ofFirst = <T extends typeof B>(of: T) => mapped(of, (_, i) => of.data[i - (i % (g * n)) + (i % n)]);
      return { B: ofFirst(B), C: ofFirst(C) };
    },
  }),
  mistaken('ssd-limits-before-softplus', 'The limits hold dt + bias, not its softplus.', ssdScan, {
    inputs: ({ dt, bias }, { h }, { lo, hi }) => ({
      dt: mapped(dt, (raw, i) => Math.min(Math.max(f(raw + (bias?.data[i % h] ?? 0)), f(lo)), f(hi))),
      bias: undefined,
    }),
    attrs: () => ({ lo: 0, hi: NO_LIMIT }),
  }),
  mistaken('ssd-no-upper-limit', 'dt has a lower limit alone.', ssdScan, { attrs: () => ({ hi: NO_LIMIT }) }),
  mistaken('ssd-no-lower-limit', 'dt has an upper limit alone.', ssdScan, { attrs: () => ({ lo: 0 }) }),
  mistaken('ssd-bias-twice', 'The bias of dt is added twice.',
    ssdScan, { inputs: ({ bias }) => ({ bias: bias && mapped(bias, b => 2 * b) }) }),
  scanning('ssd-bias-after-softplus', 'softplus(dt) + bias in place of softplus(dt + bias).',
    { stepOf: (dt, bias) => f(softplus(dt) + bias) }),
  mistaken('ssd-skip-of-another-head', 'D is that of the next head.',
    ssdScan, { inputs: ({ D }, { h }) => ({ D: D && mapped(D, (_, i) => D.data[(i + 1) % h]) }) }),
  scanning('ssd-decays-the-input', 'What comes in decays with the state: a · (S + input).',
    { next: ({ S, decay, input, b }) => f(decay * f(S + f(input * b))) }),
  mistaken('ssd-state-transposed', 'The state is kept as f32[h, p, n].',
    ssdScan, { before: turned, after: turnedBack }),
  mistaken('ssd-state-of-first-group', 'The states of the first group of heads are kept, all others are lost.',
    ssdScan, { after: (S, { h, n, p, g }) => S.map((x, i) => (i < (h / g) * n * p ? x : 0)) }),
  mistaken('ssd-state-of-first-head', 'Every head starts from the state of the first.',
    ssdScan, { before: (S, { n, p }) => S.map((_, i) => S[i % (n * p)]) }),
  inKernel('ssd-forgets-at-a-tile', 'Every 128 tokens S starts from zeros again.', ssdScan, forgetful(ssdScan)),
  {
    ...mistaken('ssd-decay-of-32-heads', `Heads after the first ${HEADS} have the decays of those.`,
      ssdScan, { inputs: ({ A }) => ({ A: mapped(A, (_, head) => A.data[head % HEADS]) }) }),
    fromSomeSize: true,
  },
  scanning('ssd-one-lane', 'One ascending sum over the states in place of four lanes.', { lanes: 1 }),
  scanning('ssd-fma', 'A fused multiply-add: one rounding for the decayed state and what comes in.',
    { next: ({ S, decay, input, b }) => f(decay * S + f(input * b)) }),
  {
    ...scanning('ssd-reads-what-it-keeps', 'y is made of S after it is rounded to int8.', { read: (_, kept) => kept }),
    op: 'ssd-scan/i8',
  },
  {
    ...inKernel('ssd-step-of-a-head', 'A state in int8 has one step for each head, that of its first state.',
      ssdScan, (inputs, attrs, outputs, dims, { S }) => {
        const scale = S.scale?.map((_, row) => S.scale![row - (row % dims.n)]);
        ssdScan.reference(inputs, attrs, outputs, dims, { S: stateView({ ...S, scale }, S.shape, S.data) });
      }),
    op: 'ssd-scan/i8',
  },

  inKernel('gated-norm-before-gate', 'The norm comes first, and the gate behind it.',
    gatedRmsNorm, ({ x, z, w }, { eps, g }, { y }, { l, d }) => {
      for (let t = 0; t < l; t++)
        for (let group = 0; group < g; group++)
          normalize(x.data, y.data, t * d, (group * d) / g, d / g, eps, w?.data);
      for (const [i, value] of y.data.entries()) y.data[i] = f(value * silu(z.data[i]));
    }),
  mistaken('gated-norm-of-all-channels', 'One mean over all channels in place of one for each group.',
    gatedRmsNorm, { attrs: () => ({ g: 1 }) }),
  mistaken('gated-norm-weight-of-group', 'The weights of the first group serve all.', gatedRmsNorm, {
    inputs: ({ w }, { d, g }) => ({ w: w && mapped(w, (_, c) => w.data[c % (d / g)]) }),
  }),
  norming('gated-norm-eps-outside', 'eps is added to the root, not under it.',
    dividing((mean, eps) => f(1 / f(f(Math.sqrt(mean)) + eps)))),
  norming('gated-norm-no-eps', 'eps is left out.',
    dividing(mean => (mean === 0 ? 1 : f(1 / f(Math.sqrt(mean)))))),
  norming('gated-norm-lanes-begin-again',
    'In a group that begins inside a vector of four channels, the lanes of the sum begin again at the next vector.',
    dividing((mean, eps) => f(1 / f(Math.sqrt(f(mean + eps)))), begin => -begin & 3)),
  mistaken('gated-norm-sigmoid', 'The gate is sigmoid(z) in place of silu(z).', gatedRmsNorm, {
    inputs: ({ x, z }) => ({ x: mapped(x, (value, i) => (z.data[i] === 0 ? value / 2 : value / z.data[i])) }),
  }),
];
