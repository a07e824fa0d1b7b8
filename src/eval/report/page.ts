/**
 * Results as one page: no script, nothing from the network, light or dark as its reader has it, and fit for paper. A pure function of
 * the results; what they lack is not shown.
 */
import { htmlPage } from '../../formats/html.ts';
import { escapeXml as text } from '../../formats/xml.ts';
import { plotsOf } from './plots.ts';
import type { Results } from './results.ts';
import { PAGE, PLOT, VARIABLES } from './style.ts';
import { inline, type Plot } from './svg.ts';
import {
  htmlTable,
  ladderTable,
  layersTable,
  outliersTable,
  resultsTable,
  sitesTable,
  tasksTable,
  techniquesTable,
} from './tables.ts';
import { lettersOf, sentenceOf } from './words.ts';

export function reportPage(results: Results): string {
  const { model, architecture, ablation = {}, results: rows = [] } = results;
  const { techniques, ladder, outliers, sites, layers } = ablation;
  const letters = lettersOf(architecture);
  const plots = plotsOf(results);
  const name = (model ?? '').split(/[\\/]/).filter(Boolean).at(-1);
  const title = `Quantization of ${name || 'a Mamba model'}`;
  const body = `<main>
<h1>${text(title)}</h1>
${about(results)}${results.ablation && letters ? `\n<p>${letters}</p>` : ''}
${section('Recipes', rows.length > 0, htmlTable(resultsTable(rows)) + htmlTable(tasksTable(rows)), plots.results)}
${section(
  'Clipping and rotation',
  techniques !== undefined && techniques.rows.length > 0,
  order(techniques?.verdicts.map(sentenceOf) ?? []),
  plots.techniques,
  techniques && details('All arms and seeds', htmlTable(techniquesTable(techniques))),
)}
${section(
  'Finer scales',
  ladder !== undefined,
  '<p>Each row is the one before with one thing changed, but that clipping and rotation come alone before they come together.</p>',
  plots.ladder,
  ladder && details('Every rung', htmlTable(ladderTable(ladder))),
)}
${section(
  'Outliers',
  outliers !== undefined,
  '<p>A static scale is the largest value that calibration saw, over 127: one outlier makes every step coarse. Rotation spreads y’s over all channels; clipping leaves u’s few largest values outside.</p>',
  plots.outliers,
  outliers && details('Every layer', htmlTable(outliersTable(outliers))),
)}
${section(
  'Sites',
  sites !== undefined,
  '<p>Left, one activation alone is rounded, and the weights are float. Right, everything is int8 but one activation: what is gained against the dashed line, which is everything.</p>',
  plots.sites,
  sites && details('Every site', htmlTable(sitesTable(sites, architecture))),
)}
${section('Layers', layers !== undefined && layers.recipes.length > 0, '', plots.layers, layers && details('Every layer', htmlTable(layersTable(layers))))}
${details('All numbers, as JSON', `<pre>${text(JSON.stringify(results, undefined, 1))}</pre>`)}
</main>`;
  return htmlPage(text(title), `\n${VARIABLES}\n${PLOT}\n${PAGE}\n`, body);
}

function section(title: string, isThere: boolean, intro: string, plots: readonly Plot[], after = ''): string {
  if (!isThere) return '';
  const figures = plots.map(plot => `<figure>${inline(plot)}</figure>`).join('\n');
  return `<section>\n<h2>${title}</h2>\n${intro}\n${figures}\n${after}\n</section>`;
}

const details = (summary: string, body: string): string =>
  `<details><summary>${summary}</summary>\n${body}\n</details>`;

const order = (sentences: readonly string[]): string =>
  sentences.length === 0
    ? ''
    : `<p>The paper’s order: each technique alone is better than neither, both are better than each alone. Measured here, mean difference ± standard error:</p>\n<ul>${sentences.map(sentence => `<li>${text(sentence)}</li>`).join('')}</ul>`;

function about({ text: name, calibrationText, backend, settings = {} }: Results): string {
  const facts: readonly (readonly [string, unknown])[] = [
    ['evaluated on', name],
    ['calibrated on', calibrationText],
    ['computed by', backend],
    ...Object.entries(settings),
  ];
  const given = facts.filter(([, value]) => value !== undefined && value !== null);
  if (given.length === 0) return '';
  const words = given.map(
    ([key, value]) => `${text(key)} ${text(Array.isArray(value) ? value.join(', ') : `${value}`)}`,
  );
  return `<p class="about">${words.join(' · ')}</p>`;
}
