/** Numbers about the values of a site: how they are spread, and what rounding does to them. */
import { quantizeValue } from 'lib/ops/quantize.ts';
import type { Histogram, Rounding } from './protocol.ts';

export function histogram(x: Float32Array, to: number, bins: number): Histogram {
  const counts = new Array<number>(bins).fill(0);
  for (const value of x)
    if (Math.abs(value) <= to) counts[Math.min(bins - 1, Math.floor(((value + to) / (2 * to)) * bins))]++;
  return { from: -to, to, counts };
}

/** `scales` is one for all rows or one for each. `undo` takes rounded values back to the basis that the error is measured in. */
export function rounding(
  x: Float32Array,
  scales: Float32Array,
  when: Rounding['when'],
  undo: (x: Float32Array) => Float32Array = same => same,
): { readonly numbers: Rounding; readonly rounded: Float32Array } {
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
  const numbers: Rounding = {
    scales: [scales.reduce((a, b) => Math.min(a, b)), scales.reduce((a, b) => Math.max(a, b))],
    when,
    clipped: clipped / x.length,
    zeros: zeros / x.length,
    levels: seen.size,
    mse: noise / x.length,
    snr: noise > 0 ? 10 * Math.log10(signal / noise) : null,
  };
  return { numbers, rounded };
}
