/** Numbers about values: how they are spread, and what rounding does to them. */
import { type Shape, shapeObserver } from 'lib/eval/moments.ts';
import { quantizeValue } from 'lib/ops/numerics.ts';

export function shapeOf(x: Float32Array): Shape {
  const observer = shapeObserver();
  observer.observe(x);
  return observer.shape();
}

/** The largest |x| of each channel, of rows of so many channels. */
export function channelMost(x: Float32Array, channels: number): readonly number[] {
  const most = new Array<number>(channels).fill(0);
  for (let i = 0; i < x.length; i++) most[i % channels] = Math.max(most[i % channels], Math.abs(x[i]));
  return most;
}

/** `counts` of values in bins of equal width. */
export interface Histogram {
  readonly from: number;
  readonly to: number;
  readonly counts: readonly number[];
}

/** Of the values in −to … to. */
export function histogram(x: Float32Array, to: number, bins: number): Histogram {
  const counts = new Array<number>(bins).fill(0);
  for (const value of x)
    if (Math.abs(value) <= to) counts[Math.min(bins - 1, Math.floor(((value + to) / (2 * to)) * bins))]++;
  return { from: -to, to, counts };
}

/** ‖got − wanted‖ / ‖wanted‖, over the indices that `counts` lets through. */
export function relativeError(
  got: Float32Array,
  wanted: Float32Array,
  counts: (i: number) => boolean = () => true,
): number {
  let [error, size] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    if (!counts(i)) continue;
    error += (got[i] - wanted[i]) ** 2;
    size += wanted[i] ** 2;
  }
  return Math.sqrt(error / size);
}

/** What rounding to int8 does to values x: with steps `scale`, x becomes q · scale. */
export interface Rounding {
  /** One for all, or the smallest and the largest of the tokens' own. */
  readonly scales: readonly [number, number];
  readonly when: 'static' | 'dynamic';
  /** Shares of all values: beyond −128 … 127 steps; rounded to 0. */
  readonly clipped: number;
  readonly zeros: number;
  /** How many of the 256 integers occur. */
  readonly levels: number;
  /** Mean (q · scale − x)², in the basis that it is measured in. */
  readonly mse: number;
  /** 10 log₁₀ (Σ x² / Σ (q · scale − x)²), in dB; null where there is no error. */
  readonly snr: number | null;
}

/** `scales` is one for all rows or one for each. `undo` takes rounded values back to the basis that the error is measured in. */
export function rounding(
  x: Float32Array,
  scales: Float32Array,
  when: Rounding['when'],
  undo: (x: Float32Array) => Float32Array = same => same,
): Rounding {
  const width = x.length / scales.length;
  const rounded = new Float32Array(x.length);
  const seen = new Set<number>();
  let [clipped, zeros] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    const scale = scales[Math.floor(i / width)];
    const q = quantizeValue(x[i], scale);
    const steps = x[i] / scale;
    if (steps > 127.5 || steps < -128.5) clipped++;
    if (q === 0) zeros++;
    seen.add(q);
    rounded[i] = q * scale;
  }
  const [plain, found] = [undo(x), undo(rounded)];
  let [noise, signal] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    noise += (found[i] - plain[i]) ** 2;
    signal += plain[i] ** 2;
  }
  return {
    scales: [scales.reduce((a, b) => Math.min(a, b)), scales.reduce((a, b) => Math.max(a, b))],
    when,
    clipped: clipped / x.length,
    zeros: zeros / x.length,
    levels: seen.size,
    mse: noise / x.length,
    snr: noise > 0 ? 10 * Math.log10(signal / noise) : null,
  };
}
