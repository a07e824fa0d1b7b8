/**
 * Chooses the next token from logits.
 *
 *   repetition penalty → temperature → top-k → top-p → min-p → draw
 *
 * The same seed and the same logits give the same tokens on every machine: the exponential is this project's own, sums
 * run in a fixed order, ties go to the lowest id, and the random numbers are defined in random.ts.
 *
 * Source: the order and definitions of transformers' logits processors, but exact at ties: top-k keeps k tokens, not all
 * that equal the k-th.
 */
import { exp } from '../ops/numerics.ts';
import { likeliest } from './logits.ts';
import { random } from './random.ts';

const f = Math.fround;

export interface SamplingOptions {
  /** 0 takes the likeliest token each time. Default: 0.8. */
  readonly temperature?: number;
  /** Keep the k likeliest tokens; 0 is off. Default: 0. */
  readonly topK?: number;
  /** Keep the fewest likeliest tokens that together have at least this probability; 1 is off. Default: 0.95. */
  readonly topP?: number;
  /** Keep tokens at least this probable relative to the likeliest; 0 is off. Default: 0. */
  readonly minP?: number;
  /** Divides positive and multiplies negative logits of tokens that stood before (Keskar et al. 2019); 1 is off. Default: 1. */
  readonly repetitionPenalty?: number;
  /** Any whole number. Default: 1. */
  readonly seed?: number;
}

/** For a small base model: without the cuts its long tail of unlikely tokens soon derails a text. */
export const SAMPLING_DEFAULTS: Required<SamplingOptions> = {
  temperature: 0.8,
  topK: 0,
  topP: 0.95,
  minP: 0,
  repetitionPenalty: 1,
  seed: 1,
};

/**
 * @returns a function of the logits f32[v] of one position and the tokens before it, that gives a token; each call draws
 *   one random number (none at temperature 0)
 * @throws RangeError for a setting out of its range, and later for logits that are NaN or Infinity, or −Infinity (never drawn) for all tokens.
 */
export function sampler(
  options: SamplingOptions = {},
): (logits: Float32Array, history?: ArrayLike<number>) => number {
  const settings = checked(options);
  const next = random(settings.seed);
  return (logits, history = []) => {
    const scores = penalized(logits, history, settings.repetitionPenalty);
    return settings.temperature === 0 ? likeliest(scores) : draw(candidates(scores, settings), next());
  };
}

/** Tokens that may be drawn; their probabilities are their weights divided by the sum of all weights. */
export interface Candidates {
  readonly ids: Int32Array;
  /** Relative to the likeliest of all tokens, whose weight is 1. */
  readonly weights: Float32Array;
}

/** Temperature (above 0), top-k, top-p and min-p, in this order. */
export function candidates(
  scores: Float32Array,
  { temperature, topK, topP, minP }: Omit<Required<SamplingOptions>, 'repetitionPenalty' | 'seed'>,
): Candidates {
  const best = scores[likeliest(scores)];
  const weight = (id: number) => exp(f((scores[id] - best) / temperature));
  const weigh = (list: Int32Array): Candidates => ({
    ids: list,
    weights: new Float32Array(list.length).map((_, i) => weight(list[i])),
  });

  let kept = weigh(
    topK > 0 && topK < scores.length ? everyId(topK).map(ranking(scores)) : everyId(scores.length),
  );
  if (topP < 1) {
    const enough = topP * sum(kept.weights);
    const next = ranking(scores);
    const nucleus: number[] = [];
    for (let mass = 0; mass < enough && nucleus.length < kept.ids.length; mass += weight(nucleus.at(-1)!))
      nucleus.push(next());
    kept = weigh(Int32Array.from(nucleus));
  }
  return minP > 0 ? weigh(kept.ids.filter((_, i) => kept.weights[i] >= minP)) : kept;
}

function draw({ ids, weights }: Candidates, uniform: number): number {
  const target = uniform * sum(weights);
  let mass = 0;
  for (let i = 0; i < ids.length; i++) if ((mass += weights[i]) > target) return ids[i];
  return ids[weights.findLastIndex(weight => weight > 0)];
}

/** In f64, in ascending order. */
const sum = (values: Float32Array): number => values.reduce((total, value) => total + value, 0);

/** 0, 1 … n − 1. */
const everyId = (n: number): Int32Array => new Int32Array(n).map((_, id) => id);

/** Gives the ids from the highest score down, the lowest id first among equals. A heap: the first m of n cost n + m·log n. */
export function ranking(scores: Float32Array): () => number {
  const heap = everyId(scores.length);
  let size = heap.length;
  const before = (a: number, b: number) => scores[a] > scores[b] || (scores[a] === scores[b] && a < b);
  const sink = (at: number) => {
    const id = heap[at];
    for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], id)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = id;
  };
  for (let at = size >> 1; at-- > 0; ) sink(at);
  return () => {
    const first = heap[0];
    heap[0] = heap[--size];
    sink(0);
    return first;
  };
}

function penalized(logits: Float32Array, history: ArrayLike<number>, penalty: number): Float32Array {
  if (logits.length === 0) throw new RangeError('sampler: expected logits; got none');
  const scores = penalty === 1 ? logits : logits.slice();
  if (penalty !== 1)
    for (const id of new Set(Array.from(history)))
      if (id < scores.length) scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
  const wrong = scores.findIndex(value => !(value < Number.POSITIVE_INFINITY));
  if (wrong >= 0)
    throw new RangeError(
      `sampler: logits expected finite values or −Infinity; got ${scores[wrong]} at id ${wrong}`,
    );
  if (scores[likeliest(scores)] === Number.NEGATIVE_INFINITY)
    throw new RangeError('sampler: logits expected a value above −Infinity; got none');
  return scores;
}

type Rule = readonly [expected: string, holds: (value: number) => boolean];
const RULES: Readonly<Record<keyof SamplingOptions, Rule>> = {
  temperature: ['a number >= 0', t => t >= 0 && t < Number.POSITIVE_INFINITY],
  topK: ['a whole number >= 0', k => k >= 0 && Number.isSafeInteger(k)],
  topP: ['a number > 0 and <= 1', p => p > 0 && p <= 1],
  minP: ['a number >= 0 and <= 1', p => p >= 0 && p <= 1],
  repetitionPenalty: ['a number > 0', r => r > 0 && r < Number.POSITIVE_INFINITY],
  seed: ['a whole number between ±(2⁵³ − 1)', Number.isSafeInteger],
};

function checked(options: SamplingOptions): Required<SamplingOptions> {
  const settings: Record<string, number> = { ...SAMPLING_DEFAULTS };
  for (const [name, value] of Object.entries<unknown>({ ...options })) {
    if (value === undefined) continue;
    if (!Object.hasOwn(RULES, name))
      throw new TypeError(`sampler: no setting '${name}'; expected ${Object.keys(RULES).join(', ')}`);
    const [expected, holds] = RULES[name as keyof SamplingOptions];
    if (typeof value !== 'number' || !holds(value))
      throw new RangeError(
        `${name} expected ${expected}; got ${typeof value === 'string' ? `'${value}'` : value}`,
      );
    settings[name] = value;
  }
  return settings as unknown as Required<SamplingOptions>;
}
