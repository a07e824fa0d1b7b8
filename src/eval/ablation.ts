/**
 * The ablation of the paper, on any model: what each of the two techniques brings, what they do to the tensors, what each site costs,
 * and how the error grows. The numbers depend on the model, two texts and the settings alone, so they are the same on any machine.
 */
import type { Program } from '../graph.ts';
import { calibrate } from '../quant/calibrate.ts';
import { a8, clip, type Recipe } from '../quant/scheme.ts';
import { PERCENTILES } from '../quant/search.ts';
import { samplesBySeed } from './calibrations.ts';
import { floatReference } from './fidelity.ts';
import { type Ladder, measureLadder, rungs } from './ladder.ts';
import { type LayerErrors, measureLayers, type NamedPlan } from './layer-error.ts';
import { measureOutliers, type Outliers } from './outliers.ts';
import { blockSitesOf, measureSensitivity, type Sensitivity, siteArms } from './sensitivity.ts';
import { arms, measureTechniques, type Techniques } from './techniques.ts';
import { type Prepare, type Reading, windowsOf } from './windows.ts';

export const PARTS = ['techniques', 'ladder', 'outliers', 'sites', 'layers'] as const;
export type Part = (typeof PARTS)[number];

export interface AblationSettings {
  /** At most so many tokens of the evaluation text, in whole windows. */
  readonly limit: number;
  readonly window: number;
  /** The number of calibration samples, and how many tokens each has. */
  readonly samples: number;
  readonly sample: number;
  /** How many times calibration samples are drawn, with the seeds 0 … seeds − 1. */
  readonly seeds: number;
  readonly percentiles: readonly number[];
  /** The one p of the parts ladder, outliers and sites. */
  readonly p: number;
  readonly parts: readonly Part[];
}
export const ABLATION_DEFAULTS: AblationSettings = {
  limit: 4096,
  window: 512,
  samples: 16,
  sample: 512,
  seeds: 3,
  percentiles: PERCENTILES,
  p: 0.99999,
  parts: PARTS,
};
/** These parts use 1 / SHARE of the evaluation text: sites have twenty recipes with slow float products, the others need no more. */
const SITES_SHARE = 2;
const SHOWN_SHARE = 4;

export interface Ablation {
  readonly techniques?: Techniques;
  readonly ladder?: Ladder;
  readonly outliers?: Outliers;
  readonly sites?: Sensitivity;
  readonly layers?: LayerErrors;
}

export interface AblationInput {
  readonly program: Program;
  readonly calibration: Int32Array;
  readonly evaluation: Int32Array;
  /** The plans whose layers are compared. */
  readonly plans: readonly NamedPlan[];
  readonly prepare: Prepare;
  /** Called with the part in progress, how many of its windows are done, and how many there are. */
  readonly onProgress?: (part: Part, done: number, total: number) => void;
}

/** @throws RangeError where a text is shorter than one window. */
export async function ablate(
  { program, calibration, evaluation, plans, prepare, onProgress }: AblationInput,
  settings: AblationSettings,
): Promise<Ablation> {
  const { limit, window, samples, sample, seeds, percentiles, p, parts } = settings;
  const wanted = (part: Part) => parts.includes(part);
  const windows = windowsOf(evaluation, window, limit);
  const samplesOfSeed = (seed: number) => samplesBySeed(calibration, samples, sample, seed);
  const few = (share: number) => windows.slice(0, Math.ceil(windows.length / share));
  const reading = (part: Part, read: readonly Int32Array[], total: number): Reading => {
    let done = 0;
    const onWindow = () => onProgress?.(part, Math.min(++done, total), total);
    return { windows: read, prepare, onWindow };
  };

  const techniques = (): Techniques => {
    const total = windows.length * (1 + seeds * arms(percentiles).length) + 2 * seeds * samples;
    const reference = floatReference(program, reading('techniques', windows, total));
    return measureTechniques(reference, [...Array(seeds).keys()], samplesOfSeed, percentiles);
  };
  const ladder = (): Ladder => {
    const total = windows.length * (1 + rungs(p).length) + 3 * samples;
    return measureLadder(floatReference(program, reading('ladder', windows, total)), samplesOfSeed(0), p);
  };
  const outliers = (): Outliers => {
    const shown = reading('outliers', few(SHOWN_SHARE), few(SHOWN_SHARE).length + samples);
    const clipped: Recipe = { at: { scanIn: { ...a8, ...clip(p) } } };
    const { ranges } = calibrate(program, clipped, samplesOfSeed(0), { prepare, onProgress: shown.onWindow });
    return measureOutliers(program, shown, p, ranges);
  };
  const sites = (): Sensitivity => {
    const some = few(SITES_SHARE);
    const own = blockSitesOf(program.graph);
    const total = some.length * (1 + siteArms(p, own).length) + 2 * samples;
    const reference = floatReference(program, reading('sites', some, total));
    return measureSensitivity(reference, samplesOfSeed(0), p, own);
  };
  const layers = (): Promise<LayerErrors> => {
    const shown = few(SHOWN_SHARE);
    return measureLayers(program, plans, reading('layers', shown, shown.length * (1 + plans.length)));
  };
  return {
    ...(wanted('techniques') && { techniques: techniques() }),
    ...(wanted('ladder') && { ladder: ladder() }),
    ...(wanted('outliers') && { outliers: outliers() }),
    ...(wanted('sites') && { sites: sites() }),
    ...(wanted('layers') && { layers: await layers() }),
  };
}
