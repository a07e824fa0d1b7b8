/**
 * All plots that results allow, in the order of a page.
 *
 * They are drawn by hand (svg.ts, scale.ts, axes.ts, labels.ts), not with Observable Plot as in web/. Six of the nine were drawn with
 * Plot for comparison. The pictures were as good, but the code was not shorter (500 lines, and 495 before): most of it says which
 * values and which words a picture has. Plot does not keep labels from covering each other, and has no logarithmic axis with a place
 * for zero; our code for both would stay. Plot also needs a document in Node (70 lines, or one more package), and what a user installs
 * would grow from 14 MB in 9 packages to 21 MB in 51.
 */
import type { Part } from '../ablation.ts';
import { histogramsPlot } from './plot-histograms.ts';
import { ladderPlot } from './plot-ladder.ts';
import { layersPlot } from './plot-layers.ts';
import { channelsPlot, reductionPlot } from './plot-outliers.ts';
import { paretoPlots } from './plot-pareto.ts';
import { sitesPlot } from './plot-sites.ts';
import { sweepPlot, techniquesPlot } from './plot-techniques.ts';
import type { Results } from './results.ts';
import { PLOT, VARIABLES } from './style.ts';
import { type Plot, standalone } from './svg.ts';

type Plots = Readonly<Record<'results' | Part, readonly Plot[]>>;

export function plotsOf({ architecture, results = [], ablation = {} }: Results): Plots {
  const { techniques, ladder, outliers, sites, layers } = ablation;
  const ofLayers = [histogramsPlot, reductionPlot, channelsPlot];
  const present = (...plots: readonly (Plot | undefined)[]) => plots.filter(plot => plot !== undefined);
  return {
    results: paretoPlots(results),
    techniques: techniques?.rows.length ? present(techniquesPlot(techniques), sweepPlot(techniques)) : [],
    ladder: present(ladder && ladderPlot(ladder)),
    outliers: outliers?.layers.length ? ofLayers.map(plot => plot(outliers)) : [],
    sites: present(sites && sitesPlot(sites, architecture)),
    layers: present(layers && layersPlot(layers)),
  };
}

/** Each plot as an SVG file that stands alone, light or dark as its reader has it: `[name, text]`. */
export const svgFiles = (results: Results): readonly (readonly [string, string])[] =>
  Object.values(plotsOf(results))
    .flat()
    .map(plot => [`${plot.id}.svg`, standalone(plot, VARIABLES + PLOT)] as const);
