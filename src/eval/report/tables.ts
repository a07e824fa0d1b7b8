/** The tables of a page. A column that no row fills is left out. */
import { escapeXml as text } from '../../formats/xml.ts';
import type { LayerErrors } from '../layer-error.ts';
import type { Outliers } from '../outliers.ts';
import type { Sensitivity } from '../sensitivity.ts';
import type { Techniques } from '../techniques.ts';
import { siteWords } from './plot-sites.ts';
import { floatRow, type ResultRow } from './results.ts';
import { nameOf, number, signedPercent, sizeWords } from './words.ts';

interface Column<R> {
  readonly title: string;
  /** HTML; undefined where the row has no such value. */
  readonly cell: (row: R) => string | undefined;
}

function table<R>(rows: readonly R[], columns: readonly Column<R>[]): string {
  const cells = columns
    .map(({ title, cell }) => ({ title, cells: rows.map(cell) }))
    .filter(column => column.cells.some(cell => cell !== undefined));
  const head = cells.map(({ title }) => `<th scope="col">${text(title)}</th>`).join('');
  const body = rows.map((_, i) => {
    const [first, ...rest] = cells.map(column => column.cells[i] ?? '');
    return `<tr><th scope="row">${first}</th>${rest.map(cell => `<td>${cell}</td>`).join('')}</tr>`;
  });
  return `<div class="wide"><table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${body.join('\n')}\n</tbody>\n</table></div>`;
}

/** A column of numbers, absent where the value is. */
const numbers = <R>(
  title: string,
  value: (row: R) => number | null | undefined,
  format: (value: number) => string,
): Column<R> => ({
  title,
  cell: row => {
    const found = value(row);
    return typeof found === 'number' ? text(format(found)) : undefined;
  },
});

const fixed = (digits: number) => (value: number) => value.toFixed(digits);
const percent = (value: number): string => (100 * value).toFixed(2);

export function resultsTable(rows: readonly ResultRow[]): string {
  const float = floatRow(rows);
  return table(rows, [
    { title: 'recipe', cell: ({ recipe }) => text(recipe) },
    numbers('perplexity', row => row.perplexity, fixed(3)),
    numbers(
      `against ${float?.recipe ?? ''}`,
      row =>
        row === float || row.perplexity === undefined || float?.perplexity === undefined
          ? undefined
          : row.perplexity / float.perplexity - 1,
      signedPercent,
    ),
    numbers('KL, nats', row => row.kl, fixed(5)),
    numbers('same top token, %', row => row.top1, percent),
    numbers('weights', row => row.bytes, sizeWords),
    numbers('state', row => row.stateBytes, sizeWords),
    numbers('prefill, tokens/s', row => row.prefill, number),
    numbers('decode, tokens/s', row => row.decode, number),
  ]);
}

/** Zero-shot tasks; empty where no row has any. */
export function tasksTable(rows: readonly ResultRow[]): string {
  const tasks = [...new Set(rows.flatMap(row => Object.keys(row.tasks ?? {})))];
  const score = (share: number | null | undefined, error: number | null | undefined) =>
    typeof share === 'number'
      ? `${percent(share)}${typeof error === 'number' ? ` <small>± ${percent(error)}</small>` : ''}`
      : undefined;
  const ofTask = (task: string): readonly Column<ResultRow>[] => [
    { title: `${task} acc, %`, cell: ({ tasks: all }) => score(all?.[task]?.acc, all?.[task]?.stderr) },
    {
      title: `${task} acc_norm, %`,
      cell: ({ tasks: all }) => score(all?.[task]?.acc_norm, all?.[task]?.acc_norm_stderr),
    },
  ];
  const scored = rows.filter(row => row.tasks);
  return scored.length === 0
    ? ''
    : table(scored, [{ title: 'recipe', cell: ({ recipe }) => text(recipe) }, ...tasks.flatMap(ofTask)]);
}

export function techniquesTable({ rows }: Techniques): string {
  const trials = rows[0]?.trials ?? [];
  return table(rows, [
    { title: 'technique', cell: row => text(nameOf(row)) },
    numbers('mean', row => row.mean, signedPercent),
    numbers('least', row => row.min, signedPercent),
    numbers('most', row => row.max, signedPercent),
    ...trials.map((trial, i) =>
      numbers<(typeof rows)[number]>(`seed ${trial.seed}`, row => row.trials[i]?.perplexity, fixed(3)),
    ),
    numbers('KL, nats', row => average(row.trials.map(({ kl }) => kl)), fixed(5)),
    numbers('same top token, %', row => average(row.trials.map(({ top1 }) => top1)), percent),
  ]);
}

export const outliersTable = ({ layers }: Outliers): string =>
  table(layers, [
    { title: 'layer', cell: ({ layer }) => `${layer}` },
    numbers('max |y|', ({ y }) => y.before.shape.max, number),
    numbers('rotated', ({ y }) => y.after.shape.max, number),
    numbers('kurtosis of y', ({ y }) => y.before.shape.kurtosis, number),
    numbers('rotated', ({ y }) => y.after.shape.kurtosis, number),
    numbers('crest factor of y', ({ y }) => y.before.shape.crest, number),
    numbers('rotated', ({ y }) => y.after.shape.crest, number),
    numbers('max |u|', ({ u }) => u.before.shape.max, number),
    numbers('clipped at', ({ u }) => u.range, number),
    numbers('share beyond', ({ u }) => u.share, number),
    numbers('step of u', ({ u }) => u.before.step, number),
    numbers('clipped', ({ u }) => u.after.step, number),
  ]);

export const sitesTable = ({ rows }: Sensitivity): string =>
  table(rows, [
    { title: 'in int8', cell: row => text(siteWords(row)) },
    numbers('KL, nats', row => row.kl, number),
    numbers('perplexity', row => row.perplexity, fixed(3)),
    numbers(
      'against float',
      row => row.change,
      value => signedPercent(value, 3),
    ),
    numbers('same top token, %', row => row.top1, percent),
  ]);

export const layersTable = ({ recipes }: LayerErrors): string =>
  table(recipes[0]?.layers ?? [], [
    { title: 'SNR, dB, after layer', cell: ({ layer }) => `${layer}` },
    ...recipes.map(({ recipe, layers }) => ({
      title: recipe,
      cell: ({ layer }: { readonly layer: number }) => layers[layer].snr?.toFixed(1) ?? 'exact',
    })),
  ]);

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);
