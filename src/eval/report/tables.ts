/** The tables of reports as cells: a heading, then rows. `align` makes text of them, `htmlTable` makes HTML; both leave out empty columns. */
import { escapeXml } from '../../formats/xml.ts';
import type { LayerErrors } from '../layer-error.ts';
import type { Outliers } from '../outliers.ts';
import type { Sensitivity } from '../sensitivity.ts';
import type { Techniques } from '../techniques.ts';
import { siteWords } from './plot-sites.ts';
import { floatRow, type ResultRow } from './results.ts';
import { nameOf, number, signedPercent, sizeWords } from './words.ts';

export type Cells = readonly (readonly string[])[];

/** A title, and the cell of a row; undefined where the row has no such value. */
type Column<R> = readonly [title: string, cell: (row: R) => string | undefined];

export const table = <R>(rows: readonly R[], columns: readonly Column<R>[]): Cells => [
  columns.map(([title]) => title),
  ...rows.map(row => columns.map(([, cell]) => cell(row) ?? '')),
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

/** A column of numbers, absent where the value is. */
const numbers = <R>(
  title: string,
  value: (row: R) => number | null | undefined,
  format: (value: number) => string,
): Column<R> => [
  title,
  row => {
    const found = value(row);
    return typeof found === 'number' ? format(found) : undefined;
  },
];

const fixed = (digits: number) => (value: number) => value.toFixed(digits);
const percent = (value: number): string => (100 * value).toFixed(2);

export function resultsTable(rows: readonly ResultRow[]): Cells {
  const float = floatRow(rows);
  return table(rows, [
    ['recipe', ({ recipe }) => recipe],
    numbers('nats/token', row => row.nats, fixed(4)),
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

export const outliersTable = ({ layers }: Outliers): Cells =>
  table(layers, [
    ['layer', ({ layer }) => `${layer}`],
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

export const sitesTable = ({ rows }: Sensitivity): Cells =>
  table(rows, [
    ['in int8', row => siteWords(row)],
    numbers('KL, nats', row => row.kl, number),
    numbers('perplexity', row => row.perplexity, fixed(3)),
    ['against float', row => signedPercent(row.change, 3)],
    numbers('same top token, %', row => row.top1, percent),
  ]);

export const layersTable = ({ recipes }: LayerErrors): Cells =>
  table(recipes[0]?.layers ?? [], [
    ['SNR, dB, after layer', ({ layer }) => `${layer}`],
    ...recipes.map(({ recipe, layers }): Column<{ readonly layer: number }> => {
      return [recipe, ({ layer }) => layers[layer].snr?.toFixed(1) ?? 'exact'];
    }),
  ]);

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);
