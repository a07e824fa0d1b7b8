/** All plots that results allow, in the order of a page. */
import { histogramsPlot } from './plot-histograms.ts';
import { layersPlot } from './plot-layers.ts';
import { channelsPlot, reductionPlot } from './plot-outliers.ts';
import { paretoPlots } from './plot-pareto.ts';
import { sitesPlot } from './plot-sites.ts';
import { sweepPlot, techniquesPlot } from './plot-techniques.ts';
import type { Results } from './results.ts';
import { PLOT, VARIABLES } from './style.ts';
import { type Plot, standalone } from './svg.ts';

export type Section = 'results' | 'techniques' | 'outliers' | 'sites' | 'layers';

export function plotsOf({
  results = [],
  ablation = {},
}: Results): Readonly<Record<Section, readonly Plot[]>> {
  const { techniques, outliers, sites, layers } = ablation;
  const present = (...plots: readonly (Plot | undefined)[]) => plots.filter(plot => plot !== undefined);
  return {
    results: paretoPlots(results),
    techniques: techniques?.rows.length ? present(techniquesPlot(techniques), sweepPlot(techniques)) : [],
    outliers: outliers
      ? present(histogramsPlot(outliers), reductionPlot(outliers), channelsPlot(outliers))
      : [],
    sites: sites ? present(sitesPlot(sites)) : [],
    layers: layers ? present(layersPlot(layers)) : [],
  };
}

/** Each plot as an SVG file that stands alone, light or dark as its reader has it: `[name, text]`. */
export const svgFiles = (results: Results): readonly (readonly [string, string])[] =>
  Object.values(plotsOf(results))
    .flat()
    .map(plot => [`${plot.id}.svg`, standalone(plot, VARIABLES + PLOT)] as const);
