/** What `quamba ablate` prints. */
import type { Ablation } from '../eval/ablation.ts';
import { nameOf, sentenceOf, signedPercent } from '../eval/report/words.ts';
import { align } from '../plan/render.ts';

export function ablationText({ techniques, outliers, sites, layers }: Ablation): string {
  const parts: string[] = [];
  if (techniques)
    parts.push(
      align([
        ['technique', 'perplexity', 'min', 'max', 'KL to fp32'],
        ...techniques.rows.map(row => [
          nameOf(row),
          signedPercent(row.mean),
          signedPercent(row.min),
          signedPercent(row.max),
          mean(row.trials.map(({ kl }) => kl)).toFixed(5),
        ]),
      ]),
      techniques.verdicts.map(sentenceOf).join('\n'),
    );
  if (outliers)
    parts.push(
      align([
        ['layer', 'u max', 'clipped at', 'beyond', 'y max', 'rotated', 'y kurtosis', 'rotated'],
        ...outliers.layers.map(({ layer, u, y }) => [
          `${layer}`,
          u.before.shape.max.toFixed(2),
          u.range.toFixed(2),
          u.share.toExponential(1),
          y.before.shape.max.toFixed(2),
          y.after.shape.max.toFixed(2),
          y.before.shape.kurtosis.toFixed(1),
          y.after.shape.kurtosis.toFixed(1),
        ]),
      ]),
    );
  if (sites)
    parts.push(
      align([
        ['quantized', 'site', 'how', 'KL to fp32', 'perplexity'],
        ...sites.rows.map(({ kind, site = '', how, kl, change }) => [
          kind,
          site,
          how,
          kl.toFixed(6),
          signedPercent(change, 3),
        ]),
      ]),
    );
  if (layers?.recipes.length)
    parts.push(
      align([
        ['SNR, dB', ...layers.recipes.map(({ recipe }) => recipe)],
        ...layers.recipes[0].layers.map(({ layer }, i) => [
          `layer ${layer}`,
          ...layers.recipes.map(recipe => recipe.layers[i].snr?.toFixed(1) ?? 'exact'),
        ]),
      ]),
    );
  return parts.join('\n\n');
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
