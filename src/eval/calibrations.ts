/**
 * What an ablation needs of calibration: windows that another seed draws elsewhere, and the statistics of many recipes from few
 * passes.
 */
import type { Program, Ref, SiteNode } from '../graph.ts';
import { calibrate, needsCalibration, type Progress, upTo } from '../quant/calibrate.ts';
import { type Stats, transform } from '../quant/lower.ts';
import { samplesOf } from '../quant/pipeline.ts';
import { observerOf, type RangeObserver } from '../quant/ranges.ts';
import { type Recipe, siteAction } from '../quant/scheme.ts';
import { transformOf } from '../quant/transforms.ts';
import { type Executable, initialState } from '../run.ts';
import { random } from '../text/random.ts';

/** How a program is run, by a backend. */
export type Prepare = (program: Program) => Executable;

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
  const even = samplesOf(tokens, count, window); // which checks the numbers
  if (seed === 0) return even;
  const next = random(seed);
  const part = (tokens.length - window) / count;
  return even.map((_, i) => {
    const start = Math.floor((i + next()) * part);
    return tokens.slice(start, start + window);
  });
}

/**
 * The statistics of each recipe, as `calibrate` gives them, bit for bit: recipes that differ in ranges only share a pass over the
 * samples. A recipe that smooths has a pass of its own.
 *
 * @throws RangeError for no samples or an empty one.
 */
export function calibrateAll(
  program: Program,
  recipes: readonly Recipe[],
  samples: readonly Int32Array[],
  { prepare, onProgress }: { readonly prepare: Prepare; readonly onProgress?: Progress },
): Stats[] {
  const groups = groupBy(
    recipes.map((recipe, index) => ({ recipe, index })),
    ({ recipe, index }) =>
      isShared(program, recipe) ? JSON.stringify(withoutRanges(program, recipe)) : `${index}`,
  );
  const stats: Stats[] = [];
  for (const [g, group] of [...groups.values()].entries()) {
    const made = statsOfGroup(
      program,
      group.map(({ recipe }) => recipe),
      samples,
      {
        prepare,
        onProgress: done => onProgress?.(g * samples.length + done, groups.size * samples.length),
      },
    );
    for (const [i, { index }] of group.entries()) stats[index] = made[i];
  }
  return stats;
}

type Options = { readonly prepare: Prepare; readonly onProgress: (done: number) => void };

/** Of recipes whose sites have the same bases. */
function statsOfGroup(
  program: Program,
  recipes: readonly Recipe[],
  samples: readonly Int32Array[],
  { prepare, onProgress }: Options,
): Stats[] {
  const [first] = recipes;
  if (recipes.length === 1 || samples.length === 0) {
    const passes = samples.length;
    const options = { prepare, onProgress: (done: number) => onProgress(Math.min(done, passes)) };
    return recipes.map(recipe =>
      needsCalibration(program, recipe)
        ? calibrate(program, recipe, samples, options)
        : { channels: {}, ranges: {} },
    );
  }
  const turned = transform(program, first);
  const sites = turned.graph.nodes.flatMap((node): readonly SiteNode[] =>
    node.kind === 'site' && siteAction(first, node.site).quantize?.when === 'static' ? [node] : [],
  );
  if (sites.length === 0) return recipes.map(() => ({ channels: {}, ranges: {} }));
  const short = upTo(turned, sites.at(-1)!);
  const executable = prepare(short);
  // two recipes with one range share its observer: a quantile is the dearest part of a pass
  const observers = new Map<Ref, Map<string, RangeObserver>>();
  const rangeOf = (recipe: Recipe, site: string) => siteAction(recipe, site).quantize!.range;
  for (const { site, out } of sites)
    observers.set(
      out,
      new Map(
        recipes.map(recipe => {
          const range = rangeOf(recipe, site);
          return [JSON.stringify(range), observerOf(range)];
        }),
      ),
    );
  try {
    for (const [i, sample] of samples.entries()) {
      executable.feed(sample, initialState(short), {
        observe: (_, ref, x) => {
          for (const observer of observers.get(ref)?.values() ?? []) observer.observe(x.data);
        },
        giveUp: true,
      });
      onProgress(i + 1);
    }
  } finally {
    executable.dispose?.();
  }
  return recipes.map(recipe => ({
    channels: {},
    ranges: Object.fromEntries(
      sites.map(({ site, out }) => [
        out,
        observers
          .get(out)!
          .get(JSON.stringify(rangeOf(recipe, site)))!
          .range(),
      ]),
    ),
  }));
}

/** Whether its statistics are ranges of the transformed graph and nothing else. */
const isShared = ({ graph }: Program, recipe: Recipe): boolean =>
  graph.nodes.every(
    node => node.kind !== 'site' || !transformOf(siteAction(recipe, node.site).basis)?.needsFactors,
  );

/** What is left of a recipe where the ranges are taken out: the same for recipes that one pass can serve. */
function withoutRanges({ graph }: Program, recipe: Recipe): unknown {
  const words = new Set(graph.nodes.flatMap(node => (node.kind === 'site' ? node.site : [])));
  const actions = [...words].map(site => {
    const { basis, quantize } = siteAction(recipe, site);
    return { basis, quantize: quantize && { ...quantize, range: undefined } };
  });
  return { ...recipe, acts: undefined, at: actions };
}

/** In the order of their first members. */
export function groupBy<T>(all: readonly T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return groups;
}
