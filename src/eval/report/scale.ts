/** From values to pixels, with the ticks that a reader expects. */

export interface Scale {
  (value: number): number;
  readonly ticks: readonly number[];
}

/** A scale with other ticks, or a map made one. */
export const withTicks = (map: (value: number) => number, ticks: readonly number[]): Scale =>
  Object.assign((value: number) => map(value), { ticks });

/** Places 0 to count − 1 at even distances, of which at most `most` are ticks. */
export function places(count: number, [from, to]: readonly [number, number], most = count): Scale {
  const every = Math.ceil(count / most);
  const ticks = Array.from({ length: Math.ceil(count / every) }, (_, i) => i * every);
  return withTicks(i => from + ((to - from) * i) / Math.max(count - 1, 1), ticks);
}

/** A linear scale whose ends are ticks. `zero`: it begins at 0 where the values allow. */
export function linear(
  values: readonly number[],
  [from, to]: readonly [number, number],
  { zero = false, count = 5 }: { readonly zero?: boolean; readonly count?: number } = {},
): Scale {
  let low = Math.min(...values, ...(zero ? [0] : []));
  let high = Math.max(...values, ...(zero ? [0] : []));
  // values that differ by roundings only are one value
  if (!(high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high))))
    [low, high] = [low - (Math.abs(low) / 2 || 1), high + (Math.abs(high) / 2 || 1)];
  const step = niceStep((high - low) / count);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return scale(v => v, multiples(step, first, last), [first * step, last * step], [from, to]);
}

/** A logarithmic scale of positive values, widened by a little. Ticks at 1, 2, 5 · 10ᵏ, or 10ᵏ where those are many. */
export function logarithmic(values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const positive = values.filter(value => value > 0);
  if (positive.length === 0) return logarithmic([1, 10], [from, to]);
  const low = Math.min(...positive) / 1.15;
  const high = Math.max(...positive) * 1.15;
  const decades = Math.log10(high / low);
  const digits =
    decades > 4 ? [1] : decades > 1.6 ? [1, 3] : decades > 0.5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
  const round = multiples(1, Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)))
    .flatMap(k => digits.map(digit => Number((digit * 10 ** k).toPrecision(6))))
    .filter(tick => tick >= low && tick <= high);
  // a narrow range may hold none of them
  const step = niceStep((high - low) / 4);
  const ticks = round.length > 1 ? round : multiples(step, Math.ceil(low / step), Math.floor(high / step));
  return scale(Math.log10, ticks, [low, high], [from, to]);
}

function scale(
  turn: (value: number) => number,
  ticks: readonly number[],
  domain: readonly [number, number],
  [from, to]: readonly [number, number],
): Scale {
  const [low, high] = domain.map(turn);
  return withTicks(value => from + ((turn(value) - low) / (high - low)) * (to - from), ticks);
}

const multiples = (step: number, first: number, last: number): readonly number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));

/** The least of 1, 2, 5 · 10ᵏ that is not below. */
function niceStep(size: number): number {
  const unit = 10 ** Math.floor(Math.log10(size));
  const factor = [1, 2, 5, 10].find(f => f * unit >= size * (1 - 1e-9)) ?? 10;
  return factor * unit;
}

/**
 * Where labels go that want to be at `wanted` on an axis: in the same order, `gap` apart, between `low` and `high` (where there is
 * room for them), moved as little as the least squares of the moves allow.
 */
export function spread(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b] || a - b);
  // with rank · gap taken off, "gap apart" is "not descending"
  const free = order.map((i, rank) => wanted[i] - rank * gap);
  const most = Math.max(low, high - (wanted.length - 1) * gap);
  const placed: number[] = [];
  for (const [rank, i] of order.entries())
    placed[i] = Math.min(Math.max(rising(free, rank), low), most) + rank * gap;
  return placed;
}

/**
 * Value `at` of the sequence that does not descend and is nearest to `values` by least squares: the largest, over where a run up to
 * it begins, of the least mean, over where the run ends.
 *
 * Source: the max-min formula of Barlow et al., Statistical Inference under Order Restrictions, 1972.
 */
function rising(values: readonly number[], at: number): number {
  const mean = (run: readonly number[]) => run.reduce((sum, value) => sum + value, 0) / run.length;
  const leastFrom = (begin: number) =>
    Math.min(...values.slice(at).map((_, more) => mean(values.slice(begin, at + more + 1))));
  return Math.max(...values.slice(0, at + 1).map((_, begin) => leastFrom(begin)));
}
