/**
 * Chooses p, the percentile at which activations are clipped, by a score on text that the ranges were not taken from.
 *
 *   1. one p for all layers: the best of `PERCENTILES`
 *   2. where it is asked for, one p for each layer: layer by layer, the p that scores best while the other layers keep theirs
 *
 * A p changes nothing but ranges, so one calibration serves all of them. The score may be any number that is to be small. The KL
 * divergence from the float model (eval/fidelity.ts) sees an error long before perplexity does.
 */
import type { Program, Ref } from '../graph.ts';
import { type CalibrateOptions, calibrateAll } from './calibrate.ts';
import type { Traced } from './lower.ts';
import { placesOf } from './observers.ts';
import { planOf } from './pipeline.ts';
import { type Recipe, siteAction, withPercentile } from './scheme.ts';
import type { Stats, StatsSizes } from './stats.ts';

/** The values of p that are tried. 1 is the moving average of each sample's largest value, not the largest of all. */
export const PERCENTILES = [1, 0.99999, 0.9999, 0.9995, 0.999] as const;

export interface Trial {
  /** A p for all layers, or a list with one for each layer. */
  readonly percentile: number | readonly number[];
  readonly score: number;
}

/** The best of all that were tried. */
export interface Search extends Trial {
  readonly recipe: Recipe;
  /** The statistics of `recipe`. */
  readonly stats: Stats;
  /** In the order in which they were tried. */
  readonly trials: readonly Trial[];
}

export interface SearchOptions extends CalibrateOptions {
  readonly perLayer?: boolean;
  readonly percentiles?: readonly number[];
  readonly onTrial?: (trial: Trial, done: number, total: number) => void;
}

/** Whether a recipe clips at any site, so that there is a p to choose. */
export const clips = (recipe: Recipe): boolean =>
  JSON.stringify(withPercentile(recipe, 0.5)) !== JSON.stringify(withPercentile(recipe, 1));

/**
 * Tries percentiles for every site of a recipe that has one.
 *
 * @param score the score of a plan: less is better
 * @throws RangeError where the recipe clips at no site; what `calibrate` throws.
 */
export function searchPercentile(
  program: Traced,
  recipe: Recipe,
  samples: readonly Int32Array[],
  score: (plan: Program) => number,
  { perLayer = false, percentiles = PERCENTILES, onTrial, ...calibration }: SearchOptions = {},
): Search {
  if (!clips(recipe)) throw new RangeError('search: the recipe has no percentile range to choose a p for');
  const candidates = percentiles.map(p => withPercentile(recipe, p));
  const all = calibrateAll(program, candidates, samples, calibration);
  const clipped = placesOf(program.graph).filter(
    ({ word }) => typeof siteAction(recipe, word).quantize?.range === 'object',
  );
  const layers = Math.max(...clipped.map(place => place.layers));
  const total = percentiles.length + (perLayer ? layers * (percentiles.length - 1) : 0);

  const byLayer = (percentile: Trial['percentile']): readonly number[] =>
    typeof percentile === 'number' ? Array<number>(layers).fill(percentile) : percentile;
  /** The statistics that a calibration with this p sees: those of the layers, each calibrated with its own p. */
  const statsOf = (percentile: Trial['percentile']): Stats => {
    const ps = byLayer(percentile);
    const patched = <T>(key: keyof StatsSizes): Readonly<Record<Ref, T>> => {
      const values = { ...all[0][key] } as Record<Ref, T>;
      for (const { ref, layer } of clipped) {
        const seen = all[percentiles.indexOf(ps[layer])][key] as Record<Ref, T> | undefined;
        if (seen && ref in seen) values[ref] = seen[ref];
      }
      return values;
    };
    return {
      ranges: patched('ranges'),
      channels: patched('channels'),
      hessians: patched('hessians'),
      recipe: withPercentile(recipe, percentile),
    };
  };
  const trials: Trial[] = [];
  const attempt = (percentile: Trial['percentile']): Trial => {
    const stats = statsOf(percentile);
    const trial = { percentile, score: score(planOf(program, stats.recipe!, stats)) };
    trials.push(trial);
    onTrial?.(trial, trials.length, total);
    return trial;
  };
  const better = (a: Trial, b: Trial) => (b.score < a.score ? b : a);

  let best = percentiles.map(attempt).reduce(better);
  if (perLayer)
    for (let layer = 0; layer < layers; layer++) {
      const ps = byLayer(best.percentile);
      for (const p of percentiles.filter(other => other !== ps[layer]))
        best = better(best, attempt(ps.with(layer, p)));
    }
  const stats = statsOf(best.percentile);
  return { ...best, recipe: withPercentile(recipe, best.percentile), stats, trials };
}
