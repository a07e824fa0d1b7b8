/**
 * What a tensor looks like, gathered piece by piece: its largest value, its kurtosis, its histogram, the largest value of each
 * channel. An outlier is what these see and a mean does not.
 *
 *   crest factor = max |x| / rms          kurtosis = E (x − μ)⁴ / (E (x − μ)²)²    (a normal distribution has 3)
 */

export interface Shape {
  readonly count: number;
  /** max |x| */
  readonly max: number;
  readonly rms: number;
  readonly crest: number;
  readonly kurtosis: number;
}

export interface ShapeObserver {
  observe(x: Float32Array): void;
  shape(): Shape;
}

/** Power sums in float64. A constant tensor has kurtosis 0 here, where the formula says 0 / 0; so has none. */
export function shapeObserver(): ShapeObserver {
  let count = 0;
  let max = 0;
  let [s1, s2, s3, s4] = [0, 0, 0, 0];
  return {
    observe(x) {
      count += x.length;
      for (const value of x) {
        const square = value * value;
        if (Math.abs(value) > max) max = Math.abs(value);
        s1 += value;
        s2 += square;
        s3 += square * value;
        s4 += square * square;
      }
    },
    shape() {
      const n = Math.max(count, 1);
      const mean = s1 / n;
      const variance = s2 / n - mean * mean;
      const fourth = s4 / n - 4 * mean * (s3 / n) + 6 * mean * mean * (s2 / n) - 3 * mean ** 4;
      const rms = Math.sqrt(s2 / n);
      // what is left of a difference of equal numbers is rounding
      const isFlat = variance <= 1e-13 * (s2 / n);
      return {
        count,
        max,
        rms,
        crest: rms > 0 ? max / rms : 0,
        kurtosis: isFlat ? 0 : fourth / (variance * variance),
      };
    },
  };
}

export interface Histogram {
  /** Bin i of n holds −to + 2·to·i / n ≤ x < −to + 2·to·(i + 1) / n; the last one also x = to. */
  readonly to: number;
  readonly counts: readonly number[];
}

/** Equal bins over −to … to, where `to` doubles (pairs of bins join) until it holds every value: a power of two. */
export function histogramObserver(bins = 128): { observe(x: Float32Array): void; histogram(): Histogram } {
  if (bins % 4 !== 0) throw new RangeError(`histogram: bins expected a multiple of 4; got ${bins}`);
  let to = 2 ** -20;
  let counts = new Array<number>(bins).fill(0);
  const widen = (): void => {
    to *= 2;
    const old = counts;
    counts = new Array<number>(bins).fill(0);
    for (let i = 0; i < bins; i++) counts[bins / 4 + (i >> 1)] += old[i];
  };
  return {
    observe(x) {
      for (const value of x) {
        while (Math.abs(value) > to) widen();
        counts[Math.min(bins - 1, Math.floor(((value + to) / (2 * to)) * bins))]++;
      }
    },
    histogram: () => ({ to, counts }),
  };
}

/**
 * The largest |x| of each channel, largest first, in `groups` runs of equal length as near as can be: the first value of each run.
 * With as many groups as channels, all of them.
 */
export function sortedChannels(channels: Float32Array, groups = 96): readonly number[] {
  const sorted = Float32Array.from(channels).sort().reverse();
  const shown = Math.min(groups, sorted.length);
  return Array.from({ length: shown }, (_, g) => sorted[Math.floor((g * sorted.length) / shown)]);
}
