/**
 * Runs the float program over sample texts, and gathers the statistics (observers.ts) that recipes need. Nothing is quantized
 * meanwhile.
 */
import type { Executable, Sequence } from '../executable.ts';
import { array } from '../formats/json.ts';
import { type Graph, type Input, type Program, type Ref, statesOf, withNodes, writes } from '../graph.ts';
import { inferTypes } from '../plan/types.ts';
import { interpret } from '../run.ts';
import { sizeOf, type Tensor } from '../tensor.ts';
import type { Accumulator } from './accumulators.ts';
import { checkTraced, type Traced, transform, withResidual } from './lower.ts';
import { LOOK_EVERY, type Pass, placesOf, statistics, type Watch, withoutSteps } from './observers.ts';
import type { Recipe } from './scheme.ts';
import type { Stats, StatsSizes } from './stats.ts';

/** Called after each sample, with the number of samples that are done and the number of all, over all passes. */
export type Progress = (done: number, total: number) => void;

export interface CalibrateOptions {
  /** How a program is run; the reference by default. */
  readonly prepare?: (program: Program) => Executable;
  readonly onProgress?: Progress;
}

/** Whether a recipe needs any statistic of a program. */
export const needsCalibration = ({ graph }: Program, recipe: Recipe): boolean =>
  placesOf(graph).some(place => statistics.some(statistic => statistic.needs(place, recipe, graph)));

/** How large the statistics are that a recipe needs of a program. A range is one value; the rest follows from the width of the site. */
export function statsSizes({ graph }: Program, recipe: Recipe): StatsSizes {
  const types = inferTypes(graph);
  const width = (ref: Ref) => {
    const state = graph.states.get(ref); // whose channels are runs of its last axis
    return state ? sizeOf(state.shape.slice(0, -1) as number[]) : (types.get(ref)!.shape.at(-1) as number);
  };
  const needed = gather(collect(graph, [recipe]).parts[0]); // of no samples
  const sizes = (found: object, size: (ref: Ref) => number) =>
    Object.fromEntries(Object.keys(found).map(ref => [ref, size(ref)]));
  return {
    channels: sizes(needed.channels, width),
    ranges: sizes(needed.ranges, () => 1),
    hessians: sizes(needed.hessians, ref => width(ref) ** 2),
  };
}

/**
 * How many tokens statistics want at least: a range one sample of 512, channels four of them (measured in docs/recipes.md), a
 * Hessian as many tokens as it has columns.
 */
export const tokensWanted = ({ channels, hessians }: StatsSizes): number =>
  Math.max(
    ONE_SAMPLE,
    Object.keys(channels).length > 0 ? 4 * ONE_SAMPLE : 0,
    ...Object.values(hessians).map(size => Math.sqrt(size)),
  );
const ONE_SAMPLE = 512;

/**
 * The statistics that `recipe` needs of a float program, over samples of token ids, or of frames. Every sample begins with an empty
 * state.
 *
 * One pass over the samples sees the sites. A recipe that smooths needs another pass before it. A recipe with states in int8
 * needs another pass after it. The ranges are those of the sites in their bases: it transforms the program itself.
 *
 * @throws Error for a program that was transformed or fused already; RangeError for no samples or an empty one, or where a
 * percentile for each layer does not fit the layers.
 */
export const calibrate = (
  program: Traced,
  recipe: Recipe,
  samples: readonly Input[],
  options: CalibrateOptions = {},
): Stats => calibrateAll(program, [recipe], samples, options)[0];

/**
 * The same for several recipes, in the passes of one. They may differ in weights, ranges, states, and in which sites have the
 * basis `channels`, but in no other basis.
 */
export function calibrateAll(
  program: Traced,
  recipes: readonly Recipe[],
  samples: readonly Input[],
  { prepare = interpret, onProgress }: CalibrateOptions = {},
): readonly Stats[] {
  for (const recipe of recipes) checkTraced('calibrate', program, recipe);
  array(samples, 'calibrate: samples');
  if (samples.length === 0) throw new RangeError('calibrate: expected at least one sample; got none');
  const empty = samples.findIndex(sample => sample.length === 0);
  if (empty >= 0) throw new RangeError(`calibrate: sample ${empty} holds no tokens`);

  const { watched, parts } = collect(program.graph, recipes);
  const passes = PASSES.filter(pass => pass === 'sites' || watched.some(each => each.pass === pass));
  for (const [p, pass] of passes.entries()) {
    const watchedNow = watched.filter(each => each.pass === pass);
    if (watchedNow.length === 0) continue;
    const smoothing = gather(parts[0].filter(part => part.pass === 'plain')).channels;
    const run = programOf(pass, program, recipes[0], smoothing);
    const executable = prepare(upToLast(run, watchedNow));
    const sequence = executable.open();
    const show: Show = (ref, x) => {
      for (const each of watchedNow) if (each.ref === ref) each.accumulator.add(x);
    };
    for (const [i, sample] of samples.entries()) {
      runSample(sequence, pass, sample, program.graph.width ?? 1, show);
      onProgress?.(p * samples.length + i + 1, passes.length * samples.length);
    }
    executable.dispose?.();
  }
  return parts.map((part, i) => ({ ...gather(part), recipe: recipes[i] }));
}

/** The passes in their order. The pass over the sites is counted even where nobody needs it. */
const PASSES: readonly Pass[] = ['plain', 'sites', 'states'];

/** An accumulator, and whose values it takes in which pass. */
interface Watched {
  readonly pass: Pass;
  readonly ref: Ref;
  readonly accumulator: Accumulator<unknown>;
}
/** One statistic of one place for one recipe. */
interface Part {
  readonly pass: Pass;
  readonly result: () => Partial<Stats>;
}

/** The parts of the statistics of each recipe, and what is to be watched for all of them. */
function collect(graph: Graph, recipes: readonly Recipe[]) {
  const watched = new Map<string, Watched>();
  const places = placesOf(graph);
  const partsOf = (recipe: Recipe): readonly Part[] =>
    places.flatMap(place =>
      statistics
        .filter(statistic => statistic.needs(place, recipe, graph))
        .map(({ pass, at }) => {
          const watch: Watch = (what, start) => {
            const key = `${pass} ${place.ref} ${what}`;
            const found = watched.get(key) ?? { pass, ref: place.ref, accumulator: start() };
            watched.set(key, found);
            return found.accumulator as ReturnType<typeof start>;
          };
          return { pass, result: at(place, recipe, watch) };
        }),
    );
  const parts = recipes.map(partsOf);
  return { parts, watched: [...watched.values()] };
}

/** The parts put together. */
function gather(parts: readonly Part[]): Required<Omit<Stats, 'recipe'>> {
  const results = parts.map(({ result }) => result());
  const joined = <K extends keyof StatsSizes>(key: K): NonNullable<Stats[K]> =>
    Object.assign({}, ...results.map(result => result[key]));
  return { channels: joined('channels'), ranges: joined('ranges'), hessians: joined('hessians') };
}

/** What a pass runs. `smoothing`: what the pass over the plain sites saw. */
const programOf = (pass: Pass, program: Traced, recipe: Recipe, smoothing: Stats['channels']): Program =>
  ({
    plain: () => withResidual(program, recipe),
    sites: () => transform(program, withoutSteps(recipe, program.graph), smoothing),
    states: () => program,
  })[pass]();

type Show = (ref: Ref, x: Tensor<'f32'>) => void;

/** Runs a sample from an empty state, and shows what there is to see of it in a pass. */
function runSample(sequence: Sequence, pass: Pass, sample: Input, width: number, show: Show): void {
  sequence.load();
  if (pass === 'states')
    for (let at = 0; at < sample.length; at += LOOK_EVERY * width) {
      sequence.feed(sample.subarray(at, at + LOOK_EVERY * width), { logits: 'last' });
      for (const [ref, h] of sequence.save().values) show(ref, h);
    }
  else sequence.feed(sample, { observe: (_, ref, x) => show(ref, x) });
}

/**
 * The program as far as the last site or state that is watched: the head is a fifth of the work, and no site of a block needs it.
 */
function upToLast(program: Program, watched: readonly Watched[]): Program {
  const { nodes } = program.graph;
  const refs = new Set(watched.map(({ ref }) => ref));
  const last = nodes.findLastIndex(node => [...writes(node), ...statesOf(node)].some(ref => refs.has(ref)));
  const short = withNodes(program, nodes.slice(0, last + 1));
  return { ...short, graph: { ...short.graph, result: writes(nodes[last])[0] } };
}
