/**
 * The paper's two techniques, each alone and both together, with several p and calibration seeds: which differences are results,
 * and which are noise.
 *
 * The recipes are made from the words of scheme.ts. Each differs from its neighbour in one field.
 */
import { a8, clip, hadamard, type Recipe, w8 } from '../quant/scheme.ts';
import { PERCENTILES } from '../quant/search.ts';
import { type Blocks, type Fidelity, type FloatReference, pairedDifference } from './fidelity.ts';

export type TechniqueName = 'baseline' | 'clip' | 'rotate' | 'both';

export interface Technique {
  readonly name: TechniqueName;
  /** Only of techniques that clip. */
  readonly p?: number;
}
export interface Arm extends Technique {
  readonly recipe: Recipe;
}

/** Int8 with absmax ranges, and with u clipped at each p, y rotated, or both. */
export function arms(percentiles: readonly number[] = PERCENTILES): readonly Arm[] {
  const arm = (name: TechniqueName, at: Recipe['at'], p?: number): Arm => {
    return { name, ...(p !== undefined && { p }), recipe: { weights: w8, acts: a8, at } };
  };
  return [
    arm('baseline', {}),
    ...percentiles.map(p => arm('clip', { scanIn: clip(p) }, p)),
    arm('rotate', { scanOut: hadamard }),
    ...percentiles.map(p => arm('both', { scanIn: clip(p), scanOut: hadamard }, p)),
  ];
}

export interface TechniqueRow extends Technique {
  /** One for each seed of the calibration. */
  readonly trials: readonly (Fidelity & { readonly seed: number })[];
  /** The mean, least and largest `change` over the trials. */
  readonly mean: number;
  readonly min: number;
  readonly max: number;
}

/** An order that the paper claims: `better` has the lower perplexity. */
export interface Claim {
  readonly better: Technique;
  readonly worse: Technique;
}
/** What was measured of a claim. */
export interface Order extends Claim {
  /** Mean nats of `worse` − `better`, over seeds and predictions, and its standard error over blocks of predictions. */
  readonly difference: number;
  readonly error: number;
  /** Whether the figures of one, over all seeds, do not overlap with those of the other. */
  readonly seedsApart: boolean;
  /** `noise`: the seeds overlap, or the difference is under twice its standard error. */
  readonly verdict: 'as the paper' | 'other than the paper' | 'noise';
}

export interface Techniques {
  readonly float: { readonly nats: number; readonly perplexity: number };
  readonly seeds: readonly number[];
  readonly predictions: number;
  readonly rows: readonly TechniqueRow[];
  readonly verdicts: readonly Order[];
}

/**
 * Measures every arm with every seed.
 *
 * @param samplesOfSeed the calibration samples of a seed
 */
export function measureTechniques(
  reference: FloatReference,
  seeds: readonly number[],
  samplesOfSeed: (seed: number) => readonly Int32Array[],
  percentiles: readonly number[],
): Techniques {
  const all = arms(percentiles);
  const recipes = all.map(({ recipe }) => recipe);
  const bySeed = seeds.map(seed => reference.compareEach(recipes, samplesOfSeed(seed)));
  const rows = all.map(({ recipe: _, ...technique }, i): TechniqueRow => {
    const trials = seeds.map((seed, s) => ({ seed, ...bySeed[s][i].fidelity }));
    const changes = trials.map(({ change }) => change);
    const mean = changes.reduce((sum, change) => sum + change, 0) / changes.length;
    return { ...technique, trials, mean, min: Math.min(...changes), max: Math.max(...changes) };
  });
  const blocks = all.map((_, i) => bySeed.map(compared => compared[i].blocks));
  const { nats, predictions } = reference;
  const verdicts = judge(rows, blocks, claims(percentiles));
  return { float: { nats, perplexity: Math.exp(nats) }, seeds, predictions, rows, verdicts };
}

/**
 * Naive static quantization is the paper's worst row, each technique alone improves it, and both together are better than each
 * alone (arXiv 2410.13229). Its p for small models is 0.99999. Without a p only the rotation is judged.
 */
export function claims(percentiles: readonly number[]): readonly Claim[] {
  const p = percentiles.includes(PAPER_P) ? PAPER_P : percentiles[0];
  if (p === undefined) return [{ better: { name: 'rotate' }, worse: { name: 'baseline' } }];
  const [baseline, clipped, rotated, both] = arms([p]).map(({ recipe: _, ...technique }) => technique);
  return [
    { better: clipped, worse: baseline },
    { better: rotated, worse: baseline },
    { better: both, worse: clipped },
    { better: both, worse: rotated },
  ];
}
const PAPER_P = 0.99999;

/** Judges the claims. `blocks` are by row and by trial. */
export function judge(
  rows: readonly TechniqueRow[],
  blocks: readonly (readonly Blocks[])[],
  asked: readonly Claim[],
): readonly Order[] {
  const indexOf = ({ name, p }: Technique): number =>
    rows.findIndex(row => row.name === name && (p === undefined || row.p === p));
  return asked.map(({ better, worse }): Order => {
    const [b, w] = [indexOf(better), indexOf(worse)];
    const { mean, error } = pairedDifference(average(blocks[w]), average(blocks[b]));
    const seedsApart = rows[b].max < rows[w].min || rows[w].max < rows[b].min;
    const isClear = seedsApart && Math.abs(mean) > 2 * error;
    const verdict = !isClear ? 'noise' : mean > 0 ? 'as the paper' : 'other than the paper';
    return { better, worse, difference: mean, error, seedsApart, verdict };
  });
}

const average = (trials: readonly Blocks[]): Blocks =>
  trials[0].map((_, i) => trials.reduce((sum, trial) => sum + trial[i], 0) / trials.length);
