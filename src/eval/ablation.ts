/**
 * The ablation of the paper on any model: what each of its two techniques brings, what they do to the tensors, which site costs
 * what, and how the error grows. Everything is a function of the model, two texts and the settings: the same numbers anywhere.
 */
import type { Program } from '../graph.ts';
import { calibrate } from '../quant/calibrate.ts';
import { a8, clip, type Recipe } from '../quant/scheme.ts';
import { PERCENTILES } from '../quant/search.ts';
import { type Prepare, samplesBySeed } from './calibrations.ts';
import { floatReference } from './fidelity.ts';
import { type LayerErrors, measureLayers, type NamedPlan } from './layer-error.ts';
import { measureOutliers, type Outliers } from './outliers.ts';
import { measureSensitivity, type Sensitivity, siteArms } from './sensitivity.ts';
import { arms, measureTechniques, type Techniques } from './techniques.ts';
import { windowsOf } from './windows.ts';

export const PARTS = ['techniques', 'outliers', 'sites', 'layers'] as const;
export type Part = (typeof PARTS)[number];

export interface AblationSettings {
  /** Tokens of the evaluation text, at most; whole windows. */
  readonly limit: number;
  readonly window: number;
  /** Calibration: how many samples of how many tokens. */
  readonly samples: number;
  readonly sample: number;
  /** How many draws of calibration samples: 0 … seeds − 1. */
  readonly seeds: number;
  readonly percentiles: readonly number[];
  /** p where one is needed: outliers and sites. */
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
/** Of the evaluation text's tokens: the sites have twenty arms of slow float products, layers and outliers need no more. */
const SITES_SHARE = 2;
const SHOWN_SHARE = 4;

export interface Ablation {
  readonly techniques?: Techniques;
  readonly outliers?: Outliers;
  readonly sites?: Sensitivity;
  readonly layers?: LayerErrors;
}

export interface AblationInput {
  readonly program: Program;
  readonly calibration: Int32Array;
  readonly evaluation: Int32Array;
  /** What the layers are compared of. */
  readonly plans: readonly NamedPlan[];
  readonly prepare: Prepare;
  /** What is being done, and how many windows of how many of it are done. */
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
  const counting = (part: Part, total: number) => {
    let done = 0;
    return () => onProgress?.(part, Math.min(++done, total), total);
  };

  const techniques = (): Techniques => {
    const count = arms(percentiles).length;
    const tick = counting(
      'techniques',
      windows.length * (1 + seeds * count) + 2 * seeds * samplesOfSeed(0).length,
    );
    return measureTechniques(
      program,
      floatReference(program, windows, prepare, tick),
      Array.from({ length: seeds }, (_, seed) => seed),
      samplesOfSeed,
      { prepare, percentiles, onSample: tick },
    );
  };
  const outliers = (): Outliers => {
    const shown = few(SHOWN_SHARE);
    const tick = counting('outliers', shown.length + samples);
    const clipped: Recipe = { at: { scanIn: { ...a8, ...clip(p) } } };
    const { ranges } = calibrate(program, clipped, samplesOfSeed(0), { prepare, onProgress: tick });
    return measureOutliers(program, shown, { prepare, p, rangeOf: site => ranges[site], onWindow: tick });
  };
  const sites = (): Sensitivity => {
    const some = few(SITES_SHARE);
    const tick = counting('sites', some.length * (1 + siteArms(p).length) + 2 * samples);
    const reference = floatReference(program, some, prepare, tick);
    return measureSensitivity(program, reference, samplesOfSeed(0), { p, prepare, onSample: tick });
  };
  const layers = (): Promise<LayerErrors> => {
    const shown = few(SHOWN_SHARE);
    const tick = counting('layers', shown.length * (1 + plans.length));
    return measureLayers(program, plans, shown, { prepare, onWindow: tick });
  };
  return {
    ...(wanted('techniques') && { techniques: techniques() }),
    ...(wanted('outliers') && { outliers: outliers() }),
    ...(wanted('sites') && { sites: sites() }),
    ...(wanted('layers') && { layers: await layers() }),
  };
}
