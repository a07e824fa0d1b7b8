/** Bugs of attention, of RoPE and its table, and of the MLPs of hybrids. */
import { attention } from '../../ops/attention.ts';
import { cos as cosOf, exp, silu, sin as sinOf } from '../../ops/numerics.ts';
import { rope } from '../../ops/rope.ts';
import { ropeTable } from '../../ops/rope-table.ts';
import { squaredRelu } from '../../ops/squared-relu.ts';
import { swiglu } from '../../ops/swiglu.ts';
import { measuredStep, type StateView, stepsOf } from '../../state.ts';
import { toBF16, toF16 } from './accumulation.ts';
import { type Broken, inKernel, mapped, mistaken } from './row.ts';

const f = Math.fround;
const BLOCK = 128;
const HALF_PI = f(Math.PI / 2);

/** Where a token stands: how many keys there were before its call, and how many it sees. */
interface Place {
  readonly past: number;
  readonly seen: number;
  /** Those that are there: before the call, and in it. */
  readonly all: number;
}

/** What an attention does its own way. */
interface Ways {
  /** Which head of keys, and of values, query head i reads. */
  readonly headOf?: (i: number, g: number, h: number) => number;
  readonly valueHeadOf?: (i: number, g: number, h: number) => number;
  readonly seen?: (place: Place) => number;
  /** The score of a key, of the terms of q · k in lanes. */
  readonly score?: (q: Float32Array, k: Float32Array, scale: number) => number;
  /** Makes weights of scores; it may return a factor for each block, by which the sum before it is multiplied. */
  readonly weigh?: (scores: Float32Array) => Float32Array | undefined;
  /** Σ of the weights, or of the weighted values. */
  readonly sum?: (terms: Float32Array, of: 'weights' | 'values', place: Place) => number;
  /** Adds this call's keys, or values, to those before; what is returned is what the call reads. */
  readonly keep?: (state: StateView, given: Float32Array, past: number) => Float32Array;
}

const dot = (a: Float32Array, b: Float32Array): number => {
  const lanes = new Float32Array(4);
  for (const [i, x] of a.entries()) lanes[i % 4] += f(x * b[i]);
  return f(f(lanes[0] + lanes[2]) + f(lanes[1] + lanes[3]));
};
const largest = (scores: Float32Array): number =>
  scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
/** Weights below a maximum. */
function below(scores: Float32Array, most: number): undefined {
  for (const [s, c] of scores.entries()) scores[s] = exp(f(c - most));
}
/** One block after the other, the first of which has `lead` terms, or as many as the others. */
function inBlocks(terms: Float32Array, block = BLOCK, lead = block, factors?: Float32Array): number {
  let total = 0;
  for (let at = 0, i = 0; at < terms.length; at = lead + block * i, i++) {
    const part = terms.subarray(at, lead + block * i).reduce((sum, x) => f(sum + x), 0);
    total = f((factors ? f(total * factors[i]) : total) + part);
  }
  return total;
}
/** Each block below the largest score so far; and by how much what was summed before it is too large. */
function weighing(scores: Float32Array): Float32Array {
  let most = Number.NEGATIVE_INFINITY;
  return Float32Array.from({ length: Math.ceil(scores.length / BLOCK) }, (_, i) => {
    const block = scores.subarray(i * BLOCK, (i + 1) * BLOCK);
    const before = most;
    most = Math.max(most, largest(block));
    below(block, most);
    return i === 0 ? 0 : exp(f(before - most));
  });
}

const grouped = (i: number, g: number, h: number): number => Math.floor((i * g) / h);

function attending(name: string, says: string, ways: Ways): Broken {
  const {
    headOf = grouped,
    valueHeadOf = headOf,
    seen = place => place.seen,
    score = (q, k, scale) => f(scale * dot(q, k)),
    weigh = scores => below(scores, largest(scores)),
    sum = terms => inBlocks(terms),
    keep = (state, given, past) => {
      state.put((past * state.data.length) / state.shape[0], given);
      return state.data;
    },
  } = ways;
  return inKernel(name, says, attention, ({ q, k, v }, { h, g, scale }, { y }, { l, p, t: past }, states) => {
    const [keys, values] = [keep(states.K, k.data, past), keep(states.V, v.data, past)];
    const of = (data: Float32Array, s: number, head: number) => {
      const at = (s * g + head) * p;
      return data.subarray(at, at + p);
    };
    for (let at = 0; at < l * h; at++) {
      const [t, i] = [Math.floor(at / h), at % h];
      const place = { past, seen: past + t + 1, all: past + l };
      const query = q.data.subarray(at * p, (at + 1) * p);
      const scores = Float32Array.from({ length: seen(place) }, (_, s) =>
        score(query, of(keys, s, headOf(i, g, h)), f(scale)),
      );
      const factors = weigh(scores);
      const add = (terms: Float32Array, of: 'weights' | 'values') =>
        factors ? inBlocks(terms, BLOCK, BLOCK, factors) : sum(terms, of, place);
      const total = add(scores, 'weights');
      for (let c = 0; c < p; c++) {
        const terms = scores.map((w, s) => w * of(values, s, valueHeadOf(i, g, h))[c]);
        y.data[at * p + c] = add(terms, 'values') / total;
      }
    }
  });
}

/** Puts the rows of this call at token `at(past)`. */
const keptAt =
  (at: (past: number) => number): NonNullable<Ways['keep']> =>
  (state, given, past) => {
    state.put((at(past) * state.data.length) / state.shape[0], given);
    return state.data;
  };
/** Reads the rows of this call as they are given, and those before as they are kept. */
const readAsGiven: NonNullable<Ways['keep']> = (state, given, past) => {
  const at = (past * state.data.length) / state.shape[0];
  state.put(at, given);
  const read = state.data.slice();
  read.set(given, at);
  return read;
};
/** Keeps a row with the step of all heads of its token. */
const keptByToken: NonNullable<Ways['keep']> = (state, given, past) => {
  const [, g, p] = state.shape;
  for (let at = 0; at < given.length; at += g * p) {
    const row = given.subarray(at, at + g * p);
    const step = measuredStep(row);
    state.data.set(
      row.map(x => step * stepsOf(x, step)),
      past * g * p + at,
    );
  }
  return state.data;
};

/** Turns pairs, whose two channels `pairOf` names, each by the angle of its token. */
const turning = (
  name: string,
  says: string,
  pairOf: (i: number, dims: { readonly p: number; readonly r: number }) => readonly [number, number],
  turn = (a: number, b: number, c: number, s: number): readonly [number, number] => [
    f(f(a * c) - f(b * s)),
    f(f(b * c) + f(a * s)),
  ],
): Broken =>
  inKernel(name, says, rope, ({ x, cos, sin }, { h }, { y }, { l, p, r }) => {
    y.data.set(x.data);
    for (let at = 0; at < l * h * r; at++) {
      const [head, i] = [Math.floor(at / r), at % r];
      const [a, b] = pairOf(i, { p, r }).map(c => head * p + c);
      const angle = Math.floor(head / h) * r + i;
      [y.data[a], y.data[b]] = turn(x.data[a], x.data[b], cos.data[angle], sin.data[angle]);
    }
  });
const halves = (i: number, { r }: { readonly r: number }): readonly [number, number] => [i, i + r];

/** A table of what `turn` makes of a position and a frequency. */
const tabling = (
  name: string,
  says: string,
  turn: (position: number, freq: number, sine: boolean) => number,
): Broken =>
  inKernel(name, says, ropeTable, ({ freq }, { sine }, { y }, { l, r }, { fed }) => {
    for (const i of y.data.keys()) y.data[i] = turn(fed.data[0] + Math.floor(i / r), freq.data[i % r], sine);
    fed.put(0, [fed.data[0] + l]);
  });
const of = (angle: number, sine: boolean): number => (sine ? sinOf : cosOf)(angle);

/* biome-ignore format: rows of a name, a sentence, and how it is done */
export const attentionBugs: readonly Broken[] = [
  attending('attention-group-modulo', 'Query head i reads head i mod g of keys and values, not ⌊i·g/h⌋.', { headOf: (i, g) => i % g }),
  attending('attention-first-head', 'All queries read the first head of keys and values.', { headOf: () => 0 }),
  attending('attention-values-of-query-head', 'Values are read of head i, as if there were as many as of queries.',
    { valueHeadOf: (i, g) => Math.min(i, g - 1) }),
  attending('attention-scale-by-habit', 'The scale is 1/√p, whatever is given.', { score: (q, k) => f(dot(q, k) / f(Math.sqrt(q.length))) }),
  attending('attention-scale-left-out', 'The scale is 1, whatever is given.', { score: (q, k) => dot(q, k) }),
  attending('attention-scales-the-query', 'The query is multiplied by the scale, then by the key.',
    { score: (q, k, scale) => dot(q.map(x => scale * x), k) }),
  attending('attention-not-itself', 'A token does not see itself, but for the first.', { seen: ({ seen }) => Math.max(seen - 1, 1) }),
  attending('attention-sees-the-next', 'A token sees the next one too.', { seen: ({ seen, all }) => Math.min(seen + 1, all) }),
  attending('attention-no-mask', 'A token sees all of its call.', { seen: ({ all }) => all }),
  attending('attention-forgets-before-the-call', 'The mask counts the tokens of the call alone.', { seen: ({ seen, past }) => seen - past }),
  attending('attention-no-maximum', 'exp(c) without the maximum.', { weigh: scores => below(scores, 0) }),
  attending('attention-maximum-of-block', 'Each block of keys is weighed below its own maximum.', {
    weigh(scores) {
      for (let at = 0; at < scores.length; at += BLOCK) {
        const block = scores.subarray(at, at + BLOCK);
        below(block, largest(block));
      }
    },
  }),
  attending('attention-maximum-from-zero', 'The maximum is at least 0.', { weigh: scores => below(scores, Math.max(largest(scores), 0)) }),
  attending('attention-running-maximum',
    'Each block is weighed below the largest score so far, and the sums before it are brought down to that: in one pass.',
    { weigh: weighing }),
  attending('attention-blocks-of-the-call', 'Blocks of keys are counted from the first token of the call.',
    { sum: (terms, _, { past }) => inBlocks(terms, BLOCK, past % BLOCK || BLOCK) }),
  attending('attention-blocks-of-64', 'Blocks of 64 keys.', { sum: terms => inBlocks(terms, 64) }),
  attending('attention-weights-in-one-sum', 'The weights are one ascending sum, the values are summed in blocks.',
    { sum: (terms, kind) => inBlocks(terms, kind === 'weights' ? Math.max(terms.length, 1) : BLOCK) }),
  attending('attention-one-lane', 'One ascending sum over the products of a score in place of four lanes.',
    { score: (q, k, scale) => f(scale * q.reduce((sum, x, i) => f(sum + f(x * k[i])), 0)) }),
  attending('attention-f16-scores', 'Scores are rounded to f16.', { score: (q, k, scale) => toF16(scale * dot(q, k)) }),
  attending('attention-divides-first', 'Each weight is divided by their sum before it meets its value, as PyTorch has it.', {
    weigh(scores) {
      below(scores, largest(scores));
      const total = inBlocks(scores);
      for (const [s, w] of scores.entries()) scores[s] = w / total;
    },
    sum: (terms, kind) => (kind === 'weights' ? 1 : inBlocks(terms)),
  }),
  attending('attention-appends-one-early', 'Keys and values are put one token too early, over the last one.', { keep: keptAt(past => Math.max(past - 1, 0)) }),
  attending('attention-starts-over', 'Keys and values of each call are put at the start.', { keep: keptAt(() => 0) }),
  { ...attending('attention-reads-as-given', 'Keys and values of this call are read before they are rounded to f16.', { keep: readAsGiven }), op: 'attention/f16' },
  { ...attending('attention-reads-before-steps', 'Keys and values of this call are read before they are rounded to int8.', { keep: readAsGiven }), op: 'attention/i8-dynamic' },
  { ...attending('attention-step-of-a-token', 'One step is measured over all heads of a token.', { keep: keptByToken }), op: 'attention/i8-dynamic' },
  { ...attending('attention-room-for-1024-keys', 'Keys after the first 1,024 are not seen.', { seen: ({ seen }) => Math.min(seen, 1024) }), fromSomeSize: true },

  turning('rope-interleaved', 'Pairs are neighbours, 2i and 2i + 1, not halves.', i => [2 * i, 2 * i + 1]),
  turning('rope-halves-of-the-head', 'Pairs are halves of the head, i and i + p/2, also where 2r < p.', (i, { p }) => [i, i + Math.floor(p / 2)]),
  turning('rope-other-way', 'The angle’s sign is the other one.', halves, (a, b, c, s) => [f(f(a * c) + f(b * s)), f(f(b * c) - f(a * s))]),
  turning('rope-turns-in-place', 'The second channel is made of the first one after it was turned.', halves, (a, b, c, s) => {
    const y = f(f(a * c) - f(b * s));
    return [y, f(f(b * c) + f(y * s))];
  }),
  turning('rope-fma', 'A fused multiply-add: one rounding for a product and its sum.', halves,
    (a, b, c, s) => [f(a * c - f(b * s)), f(b * c + f(a * s))]),
  mistaken('rope-cos-and-sin-swapped', 'cos and sin change places.', rope, { inputs: ({ cos, sin }) => ({ cos: sin, sin: cos }) }),
  mistaken('rope-angles-of-first-token', 'Every token is turned as the first of its call.', rope, {
    inputs: ({ cos, sin }, { r }) => ({ cos: mapped(cos, (_, i) => cos.data[i % r]), sin: mapped(sin, (_, i) => sin.data[i % r]) }),
  }),
  mistaken('rope-first-head', 'The first head alone is turned.', rope,
    { output: (y, i, { x }, { p }) => (i % x.shape[1] < p ? y : x.data[i]) }),

  tabling('rope-table-f64-angle', 'The angle is not rounded to f32.', (position, freq, sine) => (sine ? Math.sin : Math.cos)(position * freq)),
  tabling('rope-table-bf16-position', 'Positions are counted in bf16, which has no odd ones from 256 on.',
    (position, freq, sine) => of(f(toBF16(position) * freq), sine)),
  tabling('rope-table-short-reduction', 'The angle is reduced in f32, by π/2 in one part.', (position, freq, sine) => {
    const angle = f(position * freq);
    const n = Math.round(angle / HALF_PI);
    const [s, c] = [true, false].map(kind => of(f(angle - f(n * HALF_PI)), kind));
    return [s, c, -s, -c][(n + (sine ? 0 : 1)) & 3];
  }),
  tabling('rope-table-from-one', 'The first token of a text is in position 1.', (position, freq, sine) => of(f((position + 1) * freq), sine)),
  mistaken('rope-table-swapped', 'A table of cosines where sines are asked for, and the other way around.', ropeTable, { attrs: ({ sine }) => ({ sine: !sine }) }),
  mistaken('rope-table-starts-anew', 'Positions begin with 0 in each call.', ropeTable, { before: fed => fed.map(() => 0) }),
  mistaken('rope-table-counts-calls', 'The position goes on by 1 with each call, not with each token.', ropeTable, { after: (_, __, [before]) => Float32Array.of(before + 1) }),

  mistaken('swiglu-swapped', 'gate and up change places.', swiglu, { inputs: ({ gate, up }) => ({ gate: up, up: gate }) }),
  mistaken('swiglu-silu-of-product', 'silu(gate · up) in place of silu(gate) · up.', swiglu, { output: (_, i, { gate, up }) => silu(f(gate.data[i] * up.data[i])) }),
  mistaken('squared-relu-no-relu', 'x² of all x.', squaredRelu, { output: (_, i, { x }) => f(x.data[i] * x.data[i]) }),
  mistaken('squared-relu-no-square', 'max(x, 0).', squaredRelu, { output: (_, i, { x }) => Math.max(x.data[i], 0) }),
  mistaken('squared-relu-minus-zero', 'What is negative gives −0.', squaredRelu, { output: (y, i, { x }) => (x.data[i] < 0 ? -0 : y) }),
];
