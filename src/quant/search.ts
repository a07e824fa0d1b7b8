/**
 * Chooses p, the percentile at which activations are clipped, by a score on text that the ranges were not taken from.
 *
 *   1. one p for all layers: the best of `PERCENTILES`
 *   2. one for each layer, where asked for: from there, layer by layer, the p that scores best with the others as they are
 *
 * A p changes nothing but ranges, so that all are taken in one calibration. The score is whatever is to be small: the KL
 * divergence from the float model sees an error long before perplexity does (eval/fidelity.ts).
 */
import type { Program, Ref } from '../graph.ts';
import { type CalibrateOptions, calibrateAll } from './calibrate.ts';
import type { Stats } from './lower.ts';
import { planOf } from './pipeline.ts';
import { type Recipe, siteAction, withPercentile } from './scheme.ts';

/** The values of p that are tried. 1 is the moving average of each sample's largest value, not the largest of all. */
export const PERCENTILES = [1, 0.99999, 0.9999, 0.9995, 0.999] as const;

export interface Trial {
  /** A p, or one for each layer. */
  readonly percentile: number | readonly number[];
  readonly score: number;
}

export interface Search {
  /** The best of all that was tried. */
  readonly percentile: Trial['percentile'];
  readonly score: number;
  readonly recipe: Recipe;
  /** Of that recipe. */
  readonly stats: Stats;
  /** In the order in which they were tried. */
  readonly trials: readonly Trial[];
}

export interface SearchOptions extends CalibrateOptions {
  readonly perLayer?: boolean;
  readonly percentiles?: readonly number[];
  readonly onTrial?: (trial: Trial, done: number, total: number) => void;
}

/** Whether a recipe clips anywhere: whether there is a p to choose. */
export const clips = (recipe: Recipe): boolean =>
  JSON.stringify(withPercentile(recipe, 0.5)) !== JSON.stringify(withPercentile(recipe, 1));

/**
 * Tries percentiles for every site of a recipe that has one.
 *
 * @param score what a plan is worth: less is better
 * @throws RangeError where the recipe clips nowhere; what `calibrate` throws.
 */
export function searchPercentile(
  program: Program,
  recipe: Recipe,
  samples: readonly Int32Array[],
  score: (plan: Program) => number,
  { perLayer = false, percentiles = PERCENTILES, onTrial, ...calibration }: SearchOptions = {},
): Search {
  if (!clips(recipe)) throw new RangeError('search: the recipe has no percentile range to choose a p for');
  const all = calibrateAll(
    program,
    percentiles.map(p => withPercentile(recipe, p)),
    samples,
    calibration,
  );
  const clipped = clippedSites(program, recipe);
  const layers = Math.max(...clipped.map(refs => refs.length));
  const total = percentiles.length + (perLayer ? layers * (percentiles.length - 1) : 0);

  /** What a calibration with this p for each layer sees. */
  const statsOf = (ps: readonly number[]): Stats => {
    const ranges = { ...all[0].ranges };
    const channels = { ...all[0].channels };
    for (const refs of clipped)
      for (const [layer, ref] of refs.entries()) {
        const seen = all[percentiles.indexOf(ps[layer])];
        if (ref in seen.ranges) ranges[ref] = seen.ranges[ref];
        if (ref in seen.channels) channels[ref] = seen.channels[ref];
      }
    return { ...all[0], ranges, channels };
  };
  const trials: Trial[] = [];
  const attempt = (percentile: Trial['percentile']): Trial => {
    const ps = typeof percentile === 'number' ? Array<number>(layers).fill(percentile) : percentile;
    const trial = { percentile, score: score(planOf(program, recipe, statsOf(ps))) };
    trials.push(trial);
    onTrial?.(trial, trials.length, total);
    return trial;
  };
  const better = (a: Trial, b: Trial) => (b.score < a.score ? b : a);

  let best = percentiles.map(attempt).reduce(better);
  if (perLayer)
    for (let layer = 0; layer < layers; layer++) {
      const ps: readonly number[] =
        typeof best.percentile === 'number' ? Array<number>(layers).fill(best.percentile) : best.percentile;
      for (const p of percentiles.filter(other => other !== ps[layer]))
        best = better(best, attempt(ps.with(layer, p)));
    }
  const ps =
    typeof best.percentile === 'number' ? Array<number>(layers).fill(best.percentile) : best.percentile;
  return { ...best, recipe: withPercentile(recipe, best.percentile), stats: statsOf(ps), trials };
}

/** The values of each kind of site that is clipped, by layer. */
function clippedSites({ graph }: Program, recipe: Recipe): readonly (readonly Ref[])[] {
  const found = new Map<string, Ref[]>();
  for (const node of graph.nodes)
    if (node.kind === 'site' && typeof siteAction(recipe, node.site).quantize?.range === 'object')
      found.set(node.site, [...(found.get(node.site) ?? []), node.out]);
  return [...found.values()];
}
