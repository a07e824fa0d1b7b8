/**
 * Runs the float program over sample texts and writes down what each site saw. Nothing is quantized meanwhile.
 *
 * A range is observed after the transform of its site: a scale taken before a rotation is wrong.
 */
import { type Node, type Program, type Ref, reads, type SiteNode, withNodes } from '../graph.ts';
import { type Executable, initialState, interpret, type Observer } from '../run.ts';
import { hessianObserver } from './gptq.ts';
import { type Stats, transform } from './lower.ts';
import { observerOf } from './ranges.ts';
import { type Recipe, siteAction, weightScheme } from './scheme.ts';
import { channelAbsmax, transformOf } from './transforms.ts';

/** Called after each sample, with how many of all passes are done. */
export type Progress = (done: number, total: number) => void;

export interface CalibrateOptions {
  /** How a program is run; the reference by default. */
  readonly prepare?: (program: Program) => Executable;
  readonly onProgress?: Progress;
}

/** Whether a recipe needs calibration at all: a static range, channel statistics, or inputs that GPTQ weighs errors by. */
export const needsCalibration = ({ graph }: Program, recipe: Recipe): boolean =>
  [smoothedSites, staticSites, curvedSites].some(sites => sites(graph.nodes, recipe).length > 0);

const sitesOf = (nodes: readonly Node[]): readonly SiteNode[] =>
  nodes.flatMap(n => (n.kind === 'site' ? n : []));
const smoothedSites = (nodes: readonly Node[], recipe: Recipe) =>
  sitesOf(nodes).filter(({ site }) => transformOf(siteAction(recipe, site).basis)?.needsFactors);
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
 * One pass over the samples gives the ranges; a recipe that smooths needs another one before it, for the channels.
 *
 * @throws RangeError for no samples or an empty one.
 */
export function calibrate(
  program: Program,
  recipe: Recipe,
  samples: readonly Int32Array[],
  { prepare = interpret, onProgress }: CalibrateOptions = {},
): Stats {
  if (samples.length === 0) throw new RangeError('calibrate: expected at least one sample; got none');
  const empty = samples.findIndex(sample => sample.length === 0);
  if (empty >= 0) throw new RangeError(`calibrate: sample ${empty} holds no tokens`);

  const smoothed = smoothedSites(program.graph.nodes, recipe);
  const passes = smoothed.length > 0 ? 2 : 1;
  const watch = (
    watched: Program,
    sites: readonly SiteNode[],
    pass: number,
    see: (ref: Ref, x: Seen) => void,
  ) => {
    if (sites.length === 0) return;
    const short = upTo(watched, sites.at(-1)!);
    const executable = prepare(short);
    const wanted = new Set(sites.map(site => site.out));
    const observe: Observer = (_, ref, x) => wanted.has(ref) && see(ref, x);
    for (const [i, sample] of samples.entries()) {
      executable.feed(sample, initialState(short), { observe, giveUp: true });
      onProgress?.(pass * samples.length + i + 1, passes * samples.length);
    }
    executable.dispose?.();
  };

  const channels: Record<Ref, Float32Array> = {};
  watch(program, smoothed, 0, (ref, x) => {
    channels[ref] = channelAbsmax(x, channels[ref]);
  });

  const turned = transform(program, recipe, channels);
  const { nodes } = turned.graph;
  const observers = new Map(
    staticSites(nodes, recipe).map(s => [s.out, observerOf(siteAction(recipe, s.site).quantize!.range)]),
  );
  const curved = new Map(curvedSites(nodes, recipe).map(s => [s.out, hessianObserver()]));
  const sites = sitesOf(nodes).filter(({ out }) => observers.has(out) || curved.has(out));
  watch(turned, sites, passes - 1, (ref, x) => {
    observers.get(ref)?.observe(x.data);
    curved.get(ref)?.observe(x);
  });
  const ranges = Object.fromEntries([...observers].map(([ref, o]) => [ref, o.range()]));
  if (curved.size === 0) return { channels, ranges };
  const hessians = Object.fromEntries([...curved].map(([ref, o]) => [ref, o.hessian()]));
  return { channels, ranges, hessians };
}

type Seen = Parameters<typeof channelAbsmax>[0];

/** The program as far as a site: the head is a fifth of the work and no site of a block needs it. */
function upTo({ graph, weights }: Program, site: SiteNode): Program {
  const nodes = graph.nodes.slice(0, graph.nodes.indexOf(site) + 1);
  const read = new Set(nodes.flatMap(reads));
  const states = Object.fromEntries(Object.entries(graph.states).filter(([ref]) => read.has(ref)));
  return { graph: { ...withNodes(graph, nodes, graph.weights), states, result: site.out }, weights };
}
