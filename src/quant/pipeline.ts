/**
 * The stages of quantization in one place:
 *
 *   program ─calibrate(recipe, samples)─▶ stats
 *           ─transform(recipe, stats.channels)─▶ program′ ─quantize(stats)─▶ plan ─fuse─▶ plan
 */
import type { Program } from '../graph.ts';
import { fuse } from '../plan/fuse.ts';
import { quantize, type Traced, transform } from './lower.ts';
import type { Recipe } from './scheme.ts';
import type { Stats } from './stats.ts';

/** The fused plan of a recipe. A recipe without static sites needs no statistics. */
export const planOf = (program: Traced, recipe: Recipe, stats: Partial<Stats> = {}): Program =>
  fuse(quantize(transform(program, recipe, stats.channels), stats));

/**
 * Calibration samples: `count` windows of `window` tokens, spread evenly over a text, in the order of the text. They do not
 * overlap, since what is seen twice says nothing new: a short text gives as many as it has room for.
 *
 * @throws RangeError where the text has fewer tokens than one window.
 */
export function samplesOf(tokens: Int32Array, count: number, window: number): readonly Int32Array[] {
  for (const [what, value] of Object.entries({ samples: count, window }))
    if (!Number.isInteger(value) || value < 1)
      throw new RangeError(`${what} expected a whole number >= 1; got ${value}`);
  if (tokens.length < window)
    throw new RangeError(
      `calibration text expected at least ${window} tokens (one window); got ${tokens.length}`,
    );
  const size = Math.min(count, Math.floor(tokens.length / window));
  const stride = size === 1 ? 0 : (tokens.length - window) / (size - 1);
  return Array.from({ length: size }, (_, i) => {
    const start = Math.floor(i * stride);
    return tokens.slice(start, start + window);
  });
}

/**
 * `held` windows of a text that `samplesOf` leaves out. They are spread evenly, and each is in the middle between two samples.
 *
 * @throws RangeError where two samples leave no room between them.
 */
export function heldOutOf(
  tokens: Int32Array,
  count: number,
  window: number,
  held: number,
): readonly Int32Array[] {
  samplesOf(tokens, count, window); // for its errors
  const gaps = Math.max(1, count - 1);
  const stride = count === 1 ? tokens.length - window : (tokens.length - window) / gaps;
  if (stride < 2 * window + 1)
    throw new RangeError(
      `calibration text expected room for a window of ${window} tokens between two of its ${count} samples; got ${tokens.length} tokens`,
    );
  return Array.from({ length: Math.min(held, gaps) }, (_, i) => {
    const gap = Math.floor(((i + 0.5) * gaps) / Math.min(held, gaps));
    const start = Math.floor(gap * stride + window + (stride - 2 * window) / 2);
    return tokens.slice(start, start + window);
  });
}
