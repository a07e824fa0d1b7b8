/** The tables of reports as cells: a heading, then rows. `align` makes text of them, `htmlTable` makes HTML; both leave out empty columns. */
import { escapeXml } from '../../formats/xml.ts';
import type { Ladder } from '../ladder.ts';
import type { LayerError, LayerErrors } from '../layer-error.ts';
import type { Outliers } from '../outliers.ts';
import type { Sensitivity } from '../sensitivity.ts';
import type { TechniqueRow, Techniques } from '../techniques.ts';
import { siteWords } from './plot-sites.ts';
import { changeFrom, floatRow, type ResultRow } from './results.ts';
import { nameOf, number, signedPercent, sizeWords } from './words.ts';

export type Cells = readonly (readonly string[])[];

/** A title, what a row has there, and how it is written if it is a number. The cell is empty where the row has nothing. */
type Column<R> = readonly [
  title: string,
  value: (row: R) => string | number | null | undefined,
  format?: (value: number) => string,
];

export const table = <R>(rows: readonly R[], columns: readonly Column<R>[]): Cells => [
  columns.map(([title]) => title),
  ...rows.map(row =>
    columns.map(([, value, format = String]) => {
      const found = value(row);
      return typeof found === 'number' ? format(found) : (found ?? '');
    }),
  ),
];

/** Empty where there is no row. */
export function htmlTable([head, ...rows]: Cells): string {
  if (rows.length === 0) return '';
  const used = head.map((_, column) => rows.some(row => row[column] !== ''));
  const line = (cells: readonly string[], html: (cell: string, i: number) => string) =>
    `<tr>${cells.map((cell, i) => (used[i] ? html(escapeXml(cell), i) : '')).join('')}</tr>`;
  const body = rows.map(row =>
    line(row, (cell, i) =>
      i === 0 ? `<th scope="row">${cell}</th>` : `<td>${cell.replace(/ (±.*)$/, ' <small>$1</small>')}</td>`,
    ),
  );
  return `<div class="wide"><table>\n<thead>${line(head, cell => `<th scope="col">${cell}</th>`)}</thead>\n<tbody>\n${body.join('\n')}\n</tbody>\n</table></div>`;
}

const fixed = (digits: number) => (value: number) => value.toFixed(digits);
const percent = (value: number): string => (100 * value).toFixed(2);

export function resultsTable(rows: readonly ResultRow[]): Cells {
  const float = floatRow(rows);
  return table(rows, [
    ['recipe', ({ recipe }) => recipe],
    ['nats/token', row => row.nats, fixed(4)],
    ['perplexity', row => row.perplexity, fixed(3)],
    [
      `against ${float?.recipe ?? ''}`,
      row => (row === float ? undefined : changeFrom(float, row)),
      signedPercent,
    ],
    ['KL, nats', row => row.kl, fixed(5)],
    ['same top token, %', row => row.top1, percent],
    ['weights', row => row.bytes, sizeWords],
    ['state', row => row.stateBytes, sizeWords],
    ['prefill, tokens/s', row => row.prefill, number],
    ['decode, tokens/s', row => row.decode, number],
  ]);
}

/** Zero-shot tasks, of the rows that have any. */
export function tasksTable(rows: readonly ResultRow[]): Cells {
  const tasks = [...new Set(rows.flatMap(row => Object.keys(row.tasks ?? {})))];
  const score = (share: number | null | undefined, error: number | null | undefined) =>
    typeof share === 'number'
      ? `${percent(share)}${typeof error === 'number' ? ` ± ${percent(error)}` : ''}`
      : undefined;
  const ofTask = (task: string): readonly Column<ResultRow>[] => [
    [`${task} acc, %`, ({ tasks: all }) => score(all?.[task]?.acc, all?.[task]?.stderr)],
    [`${task} acc_norm, %`, ({ tasks: all }) => score(all?.[task]?.acc_norm, all?.[task]?.acc_norm_stderr)],
  ];
  return table(
    rows.filter(row => row.tasks),
    [['recipe', ({ recipe }) => recipe], ...tasks.flatMap(ofTask)],
  );
}

export function techniquesTable({ rows }: Techniques): Cells {
  const trials = rows[0]?.trials ?? [];
  return table(rows, [
    ['technique', row => nameOf(row)],
    ['mean', row => row.mean, signedPercent],
    ['least', row => row.min, signedPercent],
    ['most', row => row.max, signedPercent],
    ...trials.map(
      ({ seed }, i): Column<TechniqueRow> => [`seed ${seed}`, row => row.trials[i]?.perplexity, fixed(3)],
    ),
    ['KL, nats', row => average(row.trials.map(({ kl }) => kl)), fixed(5)],
    ['same top token, %', row => average(row.trials.map(({ top1 }) => top1)), percent],
  ]);
}

export const ladderTable = ({ rows }: Ladder): Cells =>
  table(rows, [
    ['in int8', row => row.name],
    ['perplexity', row => row.perplexity, fixed(3)],
    ['against float', row => signedPercent(row.change, 3)],
    ['KL, nats', row => row.kl, fixed(5)],
    ['same top token, %', row => row.top1, percent],
  ]);

export const outliersTable = ({ layers }: Outliers): Cells =>
  table(layers, [
    ['layer', ({ layer }) => layer],
    ['max |y|', ({ y }) => y.before.shape.max, number],
    ['rotated', ({ y }) => y.after.shape.max, number],
    ['kurtosis of y', ({ y }) => y.before.shape.kurtosis, number],
    ['rotated', ({ y }) => y.after.shape.kurtosis, number],
    ['crest factor of y', ({ y }) => y.before.shape.crest, number],
    ['rotated', ({ y }) => y.after.shape.crest, number],
    ['max |u|', ({ u }) => u.before.shape.max, number],
    ['clipped at', ({ u }) => u.range, number],
    ['share beyond', ({ u }) => u.share, number],
    ['step of u', ({ u }) => u.before.step, number],
    ['clipped', ({ u }) => u.after.step, number],
  ]);

export const sitesTable = ({ rows }: Sensitivity, architecture?: string): Cells =>
  table(rows, [
    ['in int8', row => siteWords(row, architecture)],
    ['KL, nats', row => row.kl, number],
    ['perplexity', row => row.perplexity, fixed(3)],
    ['against float', row => signedPercent(row.change, 3)],
    ['same top token, %', row => row.top1, percent],
  ]);

export const layersTable = ({ recipes }: LayerErrors): Cells =>
  table(recipes[0]?.layers ?? [], [
    ['SNR, dB, after layer', ({ layer }) => layer],
    ...recipes.map(({ recipe, layers }): Column<LayerError> => {
      return [recipe, ({ layer }) => layers[layer].snr ?? 'exact', fixed(1)];
    }),
  ]);

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);
