/**
 * Runs the float program over sample texts and writes down what each site saw. Nothing is quantized meanwhile.
 *
 * A range is observed after the transform of its site: a scale taken before a rotation is wrong. Where each channel has a
 * scale of its own, the range is seen before, and is the most that a channel's may be.
 */

import type { Executable, Observer } from '../executable.ts';
import { type Node, type Program, type Ref, type SiteNode, withNodes } from '../graph.ts';
import type { Site } from '../model/mamba.ts';
import { absmax } from '../ops/absmax-scale.ts';
import { interpret } from '../run.ts';
import type { Tensor } from '../tensor.ts';
import { hessianObserver } from './gptq.ts';
import { type Stats, transform, withResidual } from './lower.ts';
import { observerOf, ofLayer, type RangeObserver } from './ranges.ts';
import { type Recipe, siteAction, stateScheme, weightScheme } from './scheme.ts';
import { channelAbsmax, transformOf } from './transforms.ts';

/** Called after each sample, with how many of all passes are done. */
export type Progress = (done: number, total: number) => void;

export interface CalibrateOptions {
  /** How a program is run; the reference by default. */
  readonly prepare?: (program: Program) => Executable;
  readonly onProgress?: Progress;
}

/** Whether a recipe needs calibration at all: a static range, channel statistics, inputs that GPTQ weighs errors by, or states. */
export const needsCalibration = ({ graph }: Program, recipe: Recipe): boolean =>
  steppedStates(graph, recipe).length > 0 ||
  [smoothedSites, staticSites, curvedSites].some(sites => sites(graph.nodes, recipe).length > 0);

const sitesOf = (nodes: readonly Node[]): readonly SiteNode[] =>
  nodes.flatMap(n => (n.kind === 'site' ? n : []));
const basisOf = (recipe: Recipe, site: string) => transformOf(siteAction(recipe, site).basis);
/** States that become int8. */
const steppedStates = ({ states }: Program['graph'], recipe: Recipe): readonly Ref[] =>
  [...states.keys()].filter(ref => stateScheme(recipe, ref)?.bits === 8);
/** Sites whose ranges are seen after a transform that is made from what their channels were seen to be. */
const smoothedSites = (nodes: readonly Node[], recipe: Recipe) =>
  sitesOf(nodes).filter(({ site }) => {
    const t = basisOf(recipe, site);
    return t?.factors && t.range === undefined;
  });
/** Sites whose channels are seen together with the range that they are to keep within. */
const steppedSites = (nodes: readonly Node[], recipe: Recipe) =>
  sitesOf(nodes).filter(({ site }) => basisOf(recipe, site)?.range !== undefined);
const staticSites = (nodes: readonly Node[], recipe: Recipe) =>
  sitesOf(nodes).filter(({ site }) => siteAction(recipe, site).quantize?.when === 'static');
const curvedSites = (nodes: readonly Node[], recipe: Recipe) => {
  const curved = (node: Node) =>
    node.kind === 'op' && weightScheme(recipe, node.role)?.rounding === 'gptq' ? node.in.x : [];
  const read = new Set(nodes.flatMap(curved));
  return sitesOf(nodes).filter(({ out }) => read.has(out));
};

/**
 * The statistics that `recipe` needs of a float program, over samples of token ids, each from an empty state.
 *
 * One pass over the samples gives the ranges; a recipe that smooths needs another one before it, for the channels, and one with
 * states in int8 another one after it, in which they are looked at after every so many tokens.
 *
 * @throws RangeError for no samples or an empty one, or where a percentile for each layer does not fit the layers.
 */
export const calibrate = (
  program: Program,
  recipe: Recipe,
  samples: readonly Int32Array[],
  options: CalibrateOptions = {},
): Stats => calibrateAll(program, [recipe], samples, options)[0];

/** The same for recipes that differ in nothing but weights, ranges, states, and which sites have scales by channel: in the passes of one. */
export function calibrateAll(
  program: Program,
  recipes: readonly Recipe[],
  samples: readonly Int32Array[],
  { prepare = interpret, onProgress }: CalibrateOptions = {},
): readonly Stats[] {
  if (samples.length === 0) throw new RangeError('calibrate: expected at least one sample; got none');
  const empty = samples.findIndex(sample => sample.length === 0);
  if (empty >= 0) throw new RangeError(`calibrate: sample ${empty} holds no tokens`);

  const [first] = recipes;
  const { nodes } = program.graph;
  const smoothed = smoothedSites(nodes, first);
  const stepped = recipes.map(recipe => steppedSites(nodes, recipe));
  const anyStepped = new Set(stepped.flat().map(site => site.out));
  const states = recipes.map(recipe => steppedStates(program.graph, recipe));
  const anyStates = new Set(states.flat());
  const before = smoothed.length > 0 ? 1 : 0;
  const passes = before + (anyStates.size > 0 ? 2 : 1);
  const watch = (
    watched: Program,
    refs: ReadonlySet<Ref>,
    pass: number,
    see: (ref: Ref, x: Seen) => void,
  ) => {
    const sites = sitesOf(watched.graph.nodes).filter(site => refs.has(site.out));
    if (sites.length === 0) return;
    const short = upTo(watched, sites.at(-1)!);
    const executable = prepare(short);
    const observe: Observer = (_, ref, x) => refs.has(ref) && see(ref, x);
    for (const [i, sample] of samples.entries()) {
      const sequence = executable.open();
      sequence.feed(sample, { observe });
      sequence.close();
      onProgress?.(pass * samples.length + i + 1, passes * samples.length);
    }
    executable.dispose?.();
  };

  const seen: Record<Ref, Float32Array> = {}; // the largest |x| of each channel
  const look = (ref: Ref, x: Seen): void => {
    seen[ref] = channelAbsmax(x, seen[ref]);
  };
  watch(withResidual(program, first), new Set(smoothed.map(site => site.out)), 0, look);

  const known = new Map<string, RangeObserver>();
  const observers = recipes.map(recipe => observersOf(nodes, recipe, known));
  const observersAt = (ref: Ref) => new Set(observers.flatMap(of => of.get(ref) ?? []));
  const curved = new Map(
    recipes.flatMap(recipe => curvedSites(nodes, recipe).map(({ out }) => [out, hessianObserver()])),
  );
  const turned = transform(program, unstepped(first, nodes), seen);
  watch(
    turned,
    new Set([...observers.flatMap(of => [...of.keys()]), ...anyStepped, ...curved.keys()]),
    before,
    (ref, x) => {
      if (anyStepped.has(ref)) look(ref, x);
      for (const observer of observersAt(ref)) observer.observe(x.data);
      curved.get(ref)?.observe(x);
    },
  );

  const ofStates: Record<Ref, Float32Array> = {};
  if (anyStates.size > 0) {
    const short = upTo(program, sitesOf(nodes).at(-1)!);
    const executable = prepare(short);
    for (const [i, sample] of samples.entries()) {
      const sequence = executable.open();
      for (let at = 0; at < sample.length; at += LOOK_EVERY) {
        sequence.feed(sample.subarray(at, at + LOOK_EVERY), { logits: 'last' });
        const { values } = sequence.save();
        for (const ref of anyStates) ofStates[ref] = rowAbsmax(values.get(ref)!, ofStates[ref]);
      }
      sequence.close();
      onProgress?.((passes - 1) * samples.length + i + 1, passes * samples.length);
    }
    executable.dispose?.();
  }

  return observers.map((of, i) => {
    const ranges = new Map([...of].map(([ref, observer]) => [ref, observer.range()]));
    const channels = new Map([
      ...smoothed.map(({ out }) => [out, seen[out]] as const),
      ...states[i].map(ref => [ref, ofStates[ref]] as const),
    ]);
    for (const { site, out } of stepped[i]) {
      channels.set(out, within(seen[out], ranges.get(out)));
      if (ranges.has(out)) ranges.set(out, basisOf(recipes[i], site)!.range!);
    }
    const divisors = new Map(stepped[i].map(({ out }) => [out, channels.get(out)!]));
    const hessians = curvedSites(nodes, recipes[i]).map(
      ({ out }) => [out, divided(curved.get(out)!.hessian(), divisors.get(out))] as const,
    );
    return {
      channels: Object.fromEntries(channels),
      ranges: Object.fromEntries(ranges),
      ...(hessians.length > 0 && { hessians: Object.fromEntries(hessians) }),
    };
  });
}

const within = (max: Float32Array, most = Number.POSITIVE_INFINITY): Float32Array =>
  max.map(value => Math.min(value, most));

/** Σ x xᵀ of channels that are divided afterwards; to what common factor does not matter. */
const divided = (hessian: Float32Array, by: Float32Array | undefined): Float32Array =>
  by ? hessian.map((sum, i) => sum / (by[Math.floor(i / by.length)] * by[i % by.length] || 1)) : hessian;

/** The recipe with the sites whose statistics are taken of the plain values left plain. */
const unstepped = (recipe: Recipe, nodes: readonly Node[]): Recipe => ({
  ...recipe,
  at: {
    ...recipe.at,
    ...Object.fromEntries(
      steppedSites(nodes, recipe).map(({ site }) => [site, { ...recipe.at?.[site as Site], basis: 'none' }]),
    ),
  },
});

/**
 * What watches each static site of a recipe, by the site's value. Recipes with the same range at a site share what is
 * `known`, by value and range.
 */
function observersOf(
  nodes: readonly Node[],
  recipe: Recipe,
  known: Map<string, RangeObserver>,
): ReadonlyMap<Ref, RangeObserver> {
  const sites = staticSites(nodes, recipe);
  return new Map(
    sites.map(({ site, out }) => {
      const layers = sites.filter(other => other.site === site).map(other => other.out);
      const range = ofLayer(
        siteAction(recipe, site).quantize!.range,
        layers.indexOf(out),
        layers.length,
        site,
      );
      const key = `${out} ${JSON.stringify(range)}`;
      if (!known.has(key)) known.set(key, observerOf(range));
      return [out, known.get(key)!] as const;
    }),
  );
}

/** A state is looked at after so many tokens of a sample, and at its end: at every token it takes ten times as long. */
const LOOK_EVERY = 16;

/** The largest |h| of each row, or of `before`. */
const rowAbsmax = (
  { data, shape: [d, n] }: Tensor<'f32'>,
  before: Float32Array = new Float32Array(d),
): Float32Array => before.map((most, c) => Math.max(most, absmax(data.subarray(c * n, (c + 1) * n))));

type Seen = Parameters<typeof channelAbsmax>[0];

/** The program as far as a site: the head is a fifth of the work and no site of a block needs it. */
function upTo({ graph, weights }: Program, site: SiteNode): Program {
  const nodes = graph.nodes.slice(0, graph.nodes.indexOf(site) + 1);
  return { graph: { ...withNodes(graph, nodes, graph.weights), result: site.out }, weights };
}
