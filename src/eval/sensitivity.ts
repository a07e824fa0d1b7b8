/** Which activation costs what: one site quantized and all else float, and all quantized but one. */
import type { Program } from '../graph.ts';
import { blockSites, type Site } from '../model/index.ts';
import { planOf } from '../quant/pipeline.ts';
import { a8, clip, hadamard, type Recipe, type SiteScheme, w8 } from '../quant/scheme.ts';
import type { Stats } from '../quant/stats.ts';
import { calibrateEach } from './calibrations.ts';
import type { Fidelity, FloatReference } from './fidelity.ts';
import type { Prepare } from './windows.ts';

export interface SiteRow extends Fidelity {
  readonly kind: 'weights' | 'only' | 'all-but' | 'all';
  /** Absent for the weights alone, and for all. */
  readonly site?: Site;
  /** How the site is quantized, or, where it is the one left out, would be. */
  readonly how: 'absmax' | 'clipped' | 'rotated' | 'paper';
}
export interface Sensitivity {
  readonly p: number;
  readonly predictions: number;
  /** `only`: the weights are float. `all`, `all-but`: the weights are int8, u is clipped and y rotated, as the paper has it. */
  readonly rows: readonly SiteRow[];
}

export interface SiteArm extends Pick<SiteRow, 'kind' | 'site' | 'how'> {
  readonly recipe: Recipe;
}

/** How the paper quantizes each site. */
const paper = (site: Site, p: number): SiteScheme =>
  site === 'scanIn' ? { ...a8, ...clip(p) } : site === 'scanOut' ? { ...a8, ...hadamard } : a8;
const HOW: { readonly [S in Site]?: SiteRow['how'] } = { scanIn: 'clipped', scanOut: 'rotated' };

/**
 * The recipes: the weights alone; each site alone with absmax; u alone clipped and y alone rotated; all but each site, and
 * all, as the paper has it.
 */
export function siteArms(p: number): readonly SiteArm[] {
  const howOf = (site: Site) => HOW[site] ?? 'absmax';
  const only = (site: Site, scheme: SiteScheme, how: SiteRow['how']): SiteArm => {
    return { kind: 'only', site, how, recipe: { at: { [site]: scheme } } };
  };
  const quantized = (which: readonly Site[]): Recipe['at'] =>
    Object.fromEntries(which.map(site => [site, paper(site, p)]));
  const treated = blockSites.filter(site => HOW[site]);
  return [
    { kind: 'weights', how: 'absmax', recipe: { weights: w8 } },
    ...blockSites.map(site => only(site, a8, 'absmax')),
    ...treated.map(site => only(site, paper(site, p), howOf(site))),
    ...blockSites.map((site): SiteArm => {
      const others = quantized(blockSites.filter(other => other !== site));
      return { kind: 'all-but', site, how: howOf(site), recipe: { weights: w8, at: others } };
    }),
    { kind: 'all', how: 'paper', recipe: { weights: w8, at: quantized(blockSites) } },
  ];
}

/** The ranges come from two passes over the samples: the float model does not know which sites will be quantized. */
export function measureSensitivity(
  program: Program,
  reference: FloatReference,
  samples: readonly Int32Array[],
  { p, prepare, onSample }: { readonly p: number; readonly prepare: Prepare; readonly onSample?: () => void },
): Sensitivity {
  const whole = (at: Recipe['at']): Recipe => ({ acts: a8, at });
  const recipes = [whole({ scanIn: clip(p) }), whole({}), whole({ scanIn: clip(p), scanOut: hadamard })];
  const [clipped, plain, both] = calibrateEach(program, recipes, samples, { prepare, onProgress: onSample });
  const statsOf = ({ recipe }: SiteArm): Stats =>
    recipe.at?.scanOut?.basis === 'hadamard'
      ? both
      : recipe.at?.scanIn && recipe.at.scanIn.range !== 'absmax'
        ? clipped
        : plain;
  return {
    p,
    predictions: reference.predictions,
    rows: siteArms(p).map(arm => {
      const { kind, site, how, recipe } = arm;
      const { blocks: _, ...fidelity } = reference.compare(planOf(program, recipe, statsOf(arm)));
      return { kind, ...(site && { site }), how, ...fidelity };
    }),
  };
}
