/** Which activation costs what: one site quantized and all else float, and all quantized but one. */
import type { Graph } from '../graph.ts';
import { blockSites, type Site } from '../model/index.ts';
import { a8, clip, hadamard, type Recipe, type SiteScheme, w8 } from '../quant/scheme.ts';
import type { Fidelity, FloatReference } from './fidelity.ts';

interface Measured {
  readonly kind: 'weights' | 'only' | 'all-but' | 'all';
  /** Absent for the weights alone, and for all. */
  readonly site?: Site;
  /** How the site is quantized, or, where it is the one left out, would be. */
  readonly how: 'absmax' | 'clipped' | 'rotated' | 'paper';
}
export interface SiteArm extends Measured {
  readonly recipe: Recipe;
}
export interface SiteRow extends Measured, Fidelity {}
export interface Sensitivity {
  readonly p: number;
  readonly predictions: number;
  /** `only`: the weights are float. `all`, `all-but`: the weights are int8, u is clipped and y rotated, as the paper has it. */
  readonly rows: readonly SiteRow[];
}

/** The sites of a graph's blocks, in the order in which they are computed. */
export function blockSitesOf({ nodes }: Graph): readonly Site[] {
  const words: readonly string[] = nodes.flatMap(node => (node.kind === 'site' ? node.site : []));
  return [...new Set(words)].filter((word): word is Site => (blockSites as readonly string[]).includes(word));
}

/**
 * The recipes: the weights alone; each site alone with absmax; u alone clipped and y alone rotated; all but each site, and
 * all, as the paper has it.
 */
export function siteArms(p: number, sites: readonly Site[]): readonly SiteArm[] {
  type Way = { readonly site: Site; readonly how: Measured['how']; readonly scheme: SiteScheme };
  const plain = sites.map((site): Way => ({ site, how: 'absmax', scheme: a8 }));
  const paper = plain.map((way): Way => {
    if (way.site === 'scanIn') return { ...way, how: 'clipped', scheme: { ...a8, ...clip(p) } };
    if (way.site === 'scanOut') return { ...way, how: 'rotated', scheme: { ...a8, ...hadamard } };
    return way;
  });
  const at = (ways: readonly Way[]): Recipe['at'] =>
    Object.fromEntries(ways.map(({ site, scheme }) => [site, scheme]));
  const treated = paper.filter(({ how }) => how !== 'absmax');
  return [
    { kind: 'weights', how: 'absmax', recipe: { weights: w8 } },
    ...[...plain, ...treated].map(
      (way): SiteArm => ({ kind: 'only', site: way.site, how: way.how, recipe: { at: at([way]) } }),
    ),
    ...paper.map((way): SiteArm => {
      const others = paper.filter(other => other !== way);
      return { kind: 'all-but', site: way.site, how: way.how, recipe: { weights: w8, at: at(others) } };
    }),
    { kind: 'all', how: 'paper', recipe: { weights: w8, at: at(paper) } },
  ];
}

/** Takes two passes over the samples: one for the recipes that rotate y, one for the others. */
export function measureSensitivity(
  reference: FloatReference,
  samples: readonly Int32Array[],
  p: number,
  sites: readonly Site[],
): Sensitivity {
  const arms = siteArms(p, sites);
  const recipes = arms.map(({ recipe }) => recipe);
  const compared = reference.compareEach(recipes, samples);
  const rows = arms.map(({ recipe: _, ...arm }, i): SiteRow => ({ ...arm, ...compared[i].fidelity }));
  return { p, predictions: reference.predictions, rows };
}
