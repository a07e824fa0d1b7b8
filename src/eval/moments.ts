/**
 * The shape of a tensor's distribution, collected piece by piece: the largest value, the kurtosis, the histogram, the largest value of
 * each channel. These show outliers, which a mean does not.
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

/**
 * Central sums in float64. Each piece has sums about its own mean, which are then joined, so that a mean far from 0 costs no digits.
 * A constant or empty tensor has kurtosis 0, where the formula gives 0 / 0.
 *
 * Source: Pébay, SAND2008-6212, eq. 2.1 and 3.1.
 */
export function shapeObserver(): { observe(x: Float32Array): void; shape(): Shape } {
  let all: CentralSums = { n: 0, mean: 0, m2: 0, m3: 0, m4: 0 };
  let max = 0;
  return {
    observe(x) {
      if (x.length === 0) return;
      for (const value of x) max = Math.max(max, Math.abs(value));
      all = joined(all, centralSums(x));
    },
    shape() {
      const { n, mean, m2, m4 } = all;
      const square = n > 0 ? m2 / n + mean * mean : 0;
      const rms = Math.sqrt(square);
      // differences of equal values leave only rounding errors
      const isFlat = m2 <= 1e-20 * n * square;
      const kurtosis = isFlat ? 0 : (n * m4) / (m2 * m2);
      return { count: n, max, rms, crest: rms > 0 ? max / rms : 0, kurtosis };
    },
  };
}

/** Σ (x − mean)ᵏ for k = 2, 3, 4. */
type CentralSums = Readonly<Record<'n' | 'mean' | 'm2' | 'm3' | 'm4', number>>;

function centralSums(x: Float32Array): CentralSums {
  let sum = 0;
  for (const value of x) sum += value;
  const mean = sum / x.length;
  let [m2, m3, m4] = [0, 0, 0];
  for (const value of x) {
    const d = value - mean;
    const square = d * d;
    m2 += square;
    m3 += square * d;
    m4 += square * square;
  }
  return { n: x.length, mean, m2, m3, m4 };
}

function joined(a: CentralSums, b: CentralSums): CentralSums {
  const n = a.n + b.n;
  const d = b.mean - a.mean;
  const [wa, wb] = [a.n / n, b.n / n];
  const both = a.n * wb;
  return {
    n,
    mean: a.mean + d * wb,
    m2: a.m2 + b.m2 + d * d * both,
    m3: a.m3 + b.m3 + d ** 3 * both * (wa - wb) + 3 * d * (wa * b.m2 - wb * a.m2),
    m4:
      a.m4 +
      b.m4 +
      d ** 4 * both * (wa * wa - wa * wb + wb * wb) +
      6 * d * d * (wa * wa * b.m2 + wb * wb * a.m2) +
      4 * d * (wa * b.m3 - wb * a.m3),
  };
}

export interface Histogram {
  /** Bin i of n holds −to + 2·to·i / n ≤ x < −to + 2·to·(i + 1) / n. */
  readonly to: number;
  readonly counts: readonly number[];
}

/** Equal bins over −to … to. `to` is a power of two, which doubles (pairs of bins are joined) until every value fits. */
export function histogramObserver(bins = 192): { observe(x: Float32Array): void; histogram(): Histogram } {
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
        while (Math.abs(value) >= to && to < Infinity) widen();
        counts[Math.min(bins - 1, Math.floor(((value + to) / (2 * to)) * bins))]++;
      }
    },
    histogram: () => ({ to, counts }),
  };
}

/**
 * The largest |x| of each channel, in descending order, cut into `groups` runs of nearly equal length; the first value of each run.
 * With as many groups as channels, these are all values.
 */
export function sortedChannels(channels: Float32Array, groups = 96): readonly number[] {
  const sorted = Float32Array.from(channels).sort().reverse();
  const shown = Math.min(groups, sorted.length);
  return Array.from({ length: shown }, (_, g) => sorted[Math.floor((g * sorted.length) / shown)]);
}
