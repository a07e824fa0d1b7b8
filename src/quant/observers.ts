/**
 * What calibration looks at: five statistics of one form. Each says in which pass it looks, where a recipe needs it, and which
 * part of the recipe's `Stats` it makes of what it saw.
 *
 *   smoothing   the largest |x| of each channel, from which a smoothing basis is made
 *   ranges      the range of a static site, in its basis
 *   steps       the largest |x| of each channel within the range of the site, from which the basis `channels` is made
 *   hessians    Σ x xᵀ of the inputs of the weights that GPTQ rounds
 *   states      the largest |h| of each row of a state that becomes int8
 */
import type { Graph, Ref } from '../graph.ts';
import type { Site } from '../model/index.ts';
import { absmax } from '../ops/absmax-scale.ts';
import { type Accumulator, callsSeen, channelMaxima, rowMaxima, rowsSeen } from './accumulators.ts';
import { hessianOver } from './gptq.ts';
import { weightSchemes } from './layers.ts';
import { channelRanges, ofLayer, rangeOver, rowRanges } from './ranges.ts';
import { type Recipe, siteAction, stateScheme, wordOf } from './scheme.ts';
import type { Stats } from './stats.ts';
import { transformOf } from './transforms.ts';

/**
 * A pass over the samples, by the program that it runs and what it shows of it:
 *
 *   plain    the values of sites before they are in their basis
 *   sites    the values of sites in their basis: a scale that is taken before a rotation is wrong. Only a site in the basis
 *            `channels` is still plain, because the range of the plain values limits the channels.
 *   states   the states of the program as it was given, between two feeds
 */
export type Pass = 'plain' | 'sites' | 'states';

/** A site or a state of a graph. */
export interface Place {
  readonly ref: Ref;
  /** The word by which a recipe speaks of it: `scanIn`, `ssmState`. */
  readonly word: string;
  /** Its number among the `layers` places with this word. */
  readonly layer: number;
  readonly layers: number;
}

/** Gives a place an accumulator. Recipes that ask for the same thing (`what`) at a place share one. */
export type Watch = <T>(what: string, start: () => Accumulator<T>) => Accumulator<T>;

interface Statistic {
  readonly pass: Pass;
  /** Whether a recipe needs it at a place of a graph. */
  needs(place: Place, recipe: Recipe, graph: Graph): boolean;
  /** Has the place watched. Returns what makes its part of the recipe's statistics once the pass is over. */
  at(place: Place, recipe: Recipe, watch: Watch): () => Partial<Stats>;
}

const basisAt = ({ word }: Place, recipe: Recipe) => transformOf(siteAction(recipe, word).basis);
const isStatic = ({ word }: Place, recipe: Recipe): boolean =>
  siteAction(recipe, word).quantize?.when === 'static';
/** Whether the channels of a site are limited by its range, and are so seen together with it. */
const isInSteps = (place: Place, recipe: Recipe): boolean => basisAt(place, recipe)?.range !== undefined;

const rangeAt = ({ word, layer, layers }: Place, recipe: Recipe, watch: Watch): Accumulator<number> => {
  const range = ofLayer(siteAction(recipe, word).quantize!.range, layer, layers, word);
  return watch(`range ${JSON.stringify(range)}`, () => rangeOver(range));
};

const smoothing: Statistic = {
  pass: 'plain',
  needs: (place, recipe) => basisAt(place, recipe)?.factors !== undefined && !isInSteps(place, recipe),
  at: ({ ref }, _, watch) => {
    const max = watch('channels', channelMaxima);
    return () => ({ channels: { [ref]: max.value() } });
  },
};

const ranges: Statistic = {
  pass: 'sites',
  needs: (place, recipe) => isStatic(place, recipe) && !isInSteps(place, recipe),
  at: (place, recipe, watch) => {
    const range = rangeAt(place, recipe, watch);
    return () => ({ ranges: { [place.ref]: range.value() } });
  },
};

const steps = {
  pass: 'sites',
  needs: isInSteps,
  at: (place: Place, recipe: Recipe, watch: Watch) => {
    const max = watch('channels', channelMaxima);
    const tokens = watch('tokens', rowsSeen);
    const range = isStatic(place, recipe) ? rangeAt(place, recipe, watch) : undefined;
    const inBasis = basisAt(place, recipe)!.range!;
    return () => ({
      channels: {
        [place.ref]: channelRanges(max.value(), tokens.value(), range?.value() ?? absmax(max.value())),
      },
      ranges: range ? { [place.ref]: inBasis } : {},
    });
  },
} as const satisfies Statistic;

const hessians: Statistic = {
  pass: 'sites',
  needs: ({ ref }, recipe, graph) => {
    const schemeOf = weightSchemes(graph, recipe);
    return graph.nodes.some(
      node => node.kind === 'op' && node.in.x === ref && schemeOf(node)?.rounding === 'gptq',
    );
  },
  at: (place, recipe, watch) => {
    const sum = watch('hessian', hessianOver);
    const inSteps = isInSteps(place, recipe) ? steps.at(place, recipe, watch) : undefined;
    return () => ({ hessians: { [place.ref]: divided(sum.value(), inSteps?.().channels[place.ref]) } });
  },
};

const states: Statistic = {
  pass: 'states',
  needs: ({ ref }, recipe) => {
    const { bits, when } = stateScheme(recipe, ref) ?? {};
    return bits === 8 && when !== 'dynamic';
  },
  at: ({ ref }, _, watch) => {
    const max = watch('rows', rowMaxima);
    const looks = watch('looks', callsSeen);
    return () => ({ channels: { [ref]: rowRanges(max.value(), looks.value() * LOOK_EVERY) } });
  },
};

/** A state is looked at after so many tokens of a sample, and at its end: at every token it takes ten times as long. */
export const LOOK_EVERY = 16;

export const statistics: readonly Statistic[] = [smoothing, ranges, steps, hessians, states];

/** Σ x xᵀ of channels that are divided afterwards. A common factor of the channels does not matter. */
const divided = (hessian: Float32Array, by: Float32Array | undefined): Float32Array =>
  by ? hessian.map((sum, i) => sum / (by[Math.floor(i / by.length)] * by[i % by.length] || 1)) : hessian;

/** The sites of a graph, in the order in which they are computed, and then its states. */
export function placesOf({ nodes, states }: Graph): readonly Place[] {
  const all = [
    ...nodes.flatMap(node => (node.kind === 'site' ? { ref: node.out, word: node.site } : [])),
    ...[...states.keys()].map(ref => ({ ref, word: wordOf(ref) })),
  ];
  const seen = new Map<string, number>();
  const numbered = all.map(place => {
    const layer = seen.get(place.word) ?? 0;
    seen.set(place.word, layer + 1);
    return { ...place, layer };
  });
  return numbered.map(place => ({ ...place, layers: seen.get(place.word)! }));
}

/** The recipe with the sites that `steps` watches left plain. */
export function withoutSteps(recipe: Recipe, graph: Graph): Recipe {
  const plain = placesOf(graph).flatMap(place =>
    isInSteps(place, recipe) ? [[place.word, { ...recipe.at?.[place.word as Site], basis: 'none' }]] : [],
  );
  return { ...recipe, at: { ...recipe.at, ...Object.fromEntries(plain) } };
}
