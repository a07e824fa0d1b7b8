/** Calibration for an ablation: samples that depend on a seed, and the statistics of many recipes from few passes. */
import type { Program } from '../graph.ts';
import { groupBy } from '../group-by.ts';
import { type CalibrateOptions, calibrateAll } from '../quant/calibrate.ts';
import { placesOf } from '../quant/observers.ts';
import { samplesOf } from '../quant/pipeline.ts';
import { type Basis, type Recipe, siteAction } from '../quant/scheme.ts';
import type { Stats } from '../quant/stats.ts';
import { transformOf } from '../quant/transforms.ts';
import { random } from '../text/random.ts';

/**
 * Calibration samples: `count` windows of `window` tokens in the text's order. Seed 0 spreads them evenly (as `quamba quantize`
 * does); any other draws one uniformly from each of `count` equal parts of the text.
 *
 * @throws RangeError where the text has fewer tokens than one window, or a seed is not a whole number >= 0.
 */
export function samplesBySeed(
  tokens: Int32Array,
  count: number,
  window: number,
  seed: number,
): readonly Int32Array[] {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new RangeError(`seed expected a whole number >= 0; got ${seed}`);
  const even = samplesOf(tokens, count, window); // this also checks the numbers
  if (seed === 0) return even;
  const next = random(seed);
  const part = (tokens.length - window) / even.length;
  return even.map((_, i) => {
    const start = Math.floor((i + next()) * part);
    return tokens.slice(start, start + window);
  });
}

/**
 * The statistics of each recipe, with the same bits as `calibrate` gives. Recipes with the same bases share the passes over the
 * samples.
 *
 * @throws RangeError for no samples or an empty one.
 */
export function calibrateEach(
  program: Program,
  recipes: readonly Recipe[],
  samples: readonly Int32Array[],
  { prepare, onProgress }: CalibrateOptions,
): Stats[] {
  const groups = [...groupBy(recipes, recipe => JSON.stringify(basesOf(program, recipe))).values()];
  const found = new Map<Recipe, Stats>();
  for (const [g, group] of groups.entries()) {
    const stats = calibrateAll(program, group, samples, {
      prepare,
      onProgress: (done, total) =>
        onProgress?.((g + done / total) * samples.length, groups.length * samples.length),
    });
    for (const [i, recipe] of group.entries()) found.set(recipe, stats[i]);
  }
  return recipes.map(recipe => found.get(recipe)!);
}

/** What recipes must have in common to share a pass (see `calibrateAll`): every basis but `channels`. */
function basesOf({ graph }: Program, recipe: Recipe): unknown {
  const bases = placesOf(graph).map(({ word }) => siteAction(recipe, word).basis);
  const isInSteps = (basis: Basis) => transformOf(basis)?.range !== undefined;
  return [recipe.residual, bases.map(basis => (isInSteps(basis) ? 'none' : basis))];
}
