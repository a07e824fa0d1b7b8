/**
 * The range of a site: the |x| that is to map to 127, from which its static scale is made. It is taken from the values of the
 * calibration samples, in their order.
 */
import { absmax } from '../ops/absmax-scale.ts';
import { type Accumulator, accumulate } from './accumulators.ts';
import type { Range } from './scheme.ts';

const f = Math.fround;

/** log₂ of the tokens after which a channel's largest |x| is taken as its range: 128 samples of 512. */
const LOG_ENOUGH = 16;

/** The range of one site has one p. */
export type SiteRange = 'absmax' | { readonly percentile: number; readonly ema: number };

/** The largest |x| of all samples, or a moving average of percentiles. */
export const rangeOver = (range: SiteRange): Accumulator<number> =>
  range === 'absmax'
    ? accumulate(0, ({ data }, max = 0) => Math.max(max, absmax(data)))
    : percentileOver(range.percentile, range.ema);

/**
 * The range of a site in one layer, where `layers` layers have this site.
 *
 * @throws RangeError where the recipe has a list of p, and the list is not as long as there are layers.
 */
export function ofLayer(range: Range, layer: number, layers: number, site: string): SiteRange {
  if (range === 'absmax' || typeof range.percentile === 'number') return range as SiteRange;
  const { percentile, ema } = range;
  if (percentile.length !== layers)
    throw new RangeError(
      `recipe.at.${site}.range.percentile expected one p or ${layers}, one for each layer; got ${percentile.length}`,
    );
  return { percentile: percentile[layer], ema };
}

/**
 * The range of each channel from the largest |x| of each in n tokens, and the range R of them all:
 *
 *   r = R − a (R − m),   m = min(largest |x|, R),   a = min(1, log₂ n / 16)
 *
 * What is large in a channel is rare, and its largest |x| grows with the logarithm of the tokens seen. One token says nothing
 * of a channel that R does not say; after 65,536 the largest |x| stands for itself. Measured in docs/recipes.md.
 */
export function channelRanges(largest: Float32Array, n: number, range: number): Float32Array {
  const a = shareOf(n);
  return largest.map(x => {
    const m = Math.min(x, range);
    return a === 1 ? m : f(range - f(a * f(range - m)));
  });
}

/**
 * The same for the rows of a state, where R is the largest of all:   r = R (m / R)ᵃ. Rows differ by orders of magnitude, and a
 * step that is too coarse for a small one stays in the state.
 */
export function rowRanges(largest: Float32Array, n: number): Float32Array {
  const a = shareOf(n);
  const range = absmax(largest);
  return a === 1 || range === 0 ? largest : largest.map(m => f(range * power(f(m / range), a)));
}

/** How much the largest of n tokens says. The logarithm is linear between powers of two: the same bits on all engines. */
function shareOf(n: number): number {
  const whole = 31 - Math.clz32(n);
  return Math.min(1, (whole + n / 2 ** whole - 1) / LOG_ENOUGH);
}

/**
 * The moving average of the p-quantile of |x| of each sample: m ← p₁, then m ← m + σ (p_i − m). The order of the samples matters.
 *
 * Source: Quamba (percentile clipping of the scan's input).
 */
const percentileOver = (p: number, ema: number): Accumulator<number> =>
  accumulate(0, ({ data }, m) => {
    const sample = quantileOfAbs(data, p);
    return m === undefined ? sample : f(m + f(f(ema) * f(sample - m)));
  });

/**
 * The p-quantile of |x|, 0 ≤ p ≤ 1, exact: linear interpolation between the two order statistics around position
 * p · (n − 1), in f32 as torch.quantile computes it.
 *
 * @throws RangeError for no values.
 */
export function quantileOfAbs(x: Float32Array, p: number): number {
  if (x.length === 0) throw new RangeError('quantile: expected at least one value; got none');
  const position = f(f(p) * (x.length - 1));
  const below = Math.floor(position);
  const weight = f(position - below);
  const [low, high] = orderStatistics(x, below, Math.min(below + 1, x.length - 1));
  const difference = f(high - low);
  return weight < 0.5 ? f(low + f(weight * difference)) : f(high - f(difference * f(1 - weight)));
}

/**
 * The values of rank `low` and `high` (≥ low) in ascending |x|. The bits of a non-negative float sort like the float. So one
 * count by the upper 16 bits finds the bucket of each rank, and only that bucket is sorted.
 */
function orderStatistics(x: Float32Array, low: number, high: number): readonly [number, number] {
  const bits = new Uint32Array(x.buffer, x.byteOffset, x.length);
  const counts = new Uint32Array(1 << 15);
  for (const b of bits) counts[(b & 0x7fffffff) >>> 16]++;

  const ranked = (rank: number): number => {
    let before = 0;
    let bucket = 0;
    while (before + counts[bucket] <= rank) before += counts[bucket++];
    const values = new Float32Array(counts[bucket]);
    let size = 0;
    for (let i = 0; i < x.length; i++)
      if ((bits[i] & 0x7fffffff) >>> 16 === bucket) values[size++] = Math.abs(x[i]);
    return values.sort()[rank - before];
  };
  const first = ranked(low);
  return [first, high === low ? first : ranked(high)];
}

/** xᵃ for 0 ≤ a ≤ 1, by the binary digits of a. It is a product of repeated square roots, with the same bits on every engine. */
export function power(x: number, a: number): number {
  let result = 1;
  let root = x;
  for (let rest = a, digit = 0; rest > 0 && digit < 24; digit++) {
    if (rest >= 1) {
      result = f(result * root);
      rest -= 1;
    }
    root = f(Math.sqrt(root));
    rest *= 2;
  }
  return result;
}
