/** A report as one page. It has no script, loads nothing, is light or dark as the reader's system is, and can be printed. */

import { htmlPage } from '../../formats/html.ts';
import { escapeXml as text } from '../../formats/xml.ts';
import { groupBy } from '../../group-by.ts';
import { OUTCOMES, type Outcome, type Profile } from '../case.ts';
import { STYLE } from './html-style.ts';
import type { Report, Result } from './report.ts';
import {
  byRow,
  conclusion,
  countOf,
  countsOf,
  errorOf,
  explain,
  isExpectedFailure,
  isFailure,
  isUnexpectedPass,
  largestError,
  outcomesOf,
  placeOf,
  replayOf,
  short,
} from './report.ts';

export function renderHtml(report: Report): string {
  const { backend, profile, results } = report;
  const { ok, says } = conclusion(report);
  const failures = results.filter(isFailure);
  const title = `Conformance of ${text(backend)}`;
  const body = `<header>
<h1>${title}</h1>
<p class="verdict ${ok ? 'pass' : 'fail'}">${text(says)}</p>
<p class="about">${PROFILES[profile]}</p>
</header>
<main>
${counters(report)}
${matrix(report)}
${wholes(report)}
${section('Failures', failures, group => group.map(result => failure(report, result)).join('\n'))}
${section('Expected to fail', results.filter(isExpectedFailure), known)}
${section('Passed, though expected to fail', results.filter(isUnexpectedPass), known)}
${section(
  'Not tried',
  results.filter(({ outcome }) => outcome === 'unsupported' || outcome === 'skipped'),
  untried,
)}
${section('Every case', results, everything)}
${environment(report)}
</main>`;
  return htmlPage(`${title}: ${ok ? 'passed' : 'failed'}`, STYLE, body);
}

const PROFILES = {
  exact: 'Profile <b>exact</b>: every value has the bits of the reference.',
  tolerant:
    'Profile <b>tolerant</b>: integers are exact; every float is within a bound that follows from the work behind it. ' +
    'Errors are in units of that bound: above 1 is a failure.',
} as const;

/** Each colour has a sign beside it, for readers who cannot tell the colours apart. */
const SIGNS: Readonly<Record<Outcome, string>> = {
  pass: '✓',
  fail: '✗',
  error: '!',
  unsupported: '–',
  skipped: '·',
};

const section = (
  title: string,
  group: readonly Result[],
  body: (group: readonly Result[]) => string,
): string =>
  group.length
    ? `<section>\n<h2>${title} <small>${group.length}</small></h2>\n${body(group)}\n</section>`
    : '';

function counters(report: Report): string {
  const { passed, failed, errors, unsupported, skipped, expectedFailures } = countsOf(report);
  const boxes: readonly (readonly [string, number, Outcome])[] = [
    ['passed', passed, 'pass'],
    ['failed', failed, 'fail'],
    ['errors', errors, 'error'],
    ['expected to fail', expectedFailures, 'skipped'],
    ['unsupported', unsupported, 'unsupported'],
    ['skipped', skipped, 'skipped'],
  ];
  const shown = boxes.map(
    ([name, n, kind]) => `<li class="${n ? kind : 'none'}"><b>${n}</b> ${SIGNS[kind]} ${name}</li>`,
  );
  return `<ul class="counters">${shown.join('')}</ul>`;
}

/** A row for each op, a column for each family of cases. */
function matrix({ results, profile }: Report): string {
  const familyOf = ({ address }: Result) => placeOf(address).family;
  const placed = results.filter(({ address }) => placeOf(address).isOp);
  const families = [...groupBy(placed, familyOf).keys()];
  const cellOf = (family: string, group: readonly Result[]) =>
    cell(
      group.filter(result => familyOf(result) === family),
      profile,
    );
  return rowsOf('Ops', 'op', placed, families, cellOf, profile, `\n${legend()}`);
}

/** The cases that do not judge one op (fused ops, blocks, models, states), a column for each outcome. */
function wholes({ results, profile }: Report): string {
  const placed = results.filter(({ address }) => !placeOf(address).isOp);
  const cellOf = (column: Outcome, group: readonly Result[]) => {
    const n = countOf(group, column);
    return n ? `<td class="${column}">${SIGNS[column]} ${n}</td>` : '<td></td>';
  };
  return rowsOf('Fused ops, blocks, models, state', 'part', placed, outcomesOf(placed), cellOf, profile);
}

/** A table of results, in the tolerant profile with the largest error of each row. */
function rowsOf<Column extends string>(
  title: string,
  head: string,
  results: readonly Result[],
  columns: readonly Column[],
  cellOf: (column: Column, group: readonly Result[]) => string,
  profile: Profile,
  after = '',
): string {
  if (results.length === 0) return '';
  const measured = profile === 'tolerant';
  const rows = byRow(results).map(([row, group]) => {
    const cells = columns.map(column => cellOf(column, group)).join('');
    return `<tr><th scope="row">${text(row)}</th>${cells}${measured ? worstCell(group) : ''}</tr>`;
  });
  const words = [head, ...columns, ...(measured ? ['worst error'] : [])];
  const heads = words.map(word => `<th scope="col">${text(word)}</th>`);
  const shown = table(heads.join(''), rows, ' class="matrix"');
  return `<section>\n<h2>${title}</h2>\n${shown}${after}\n</section>`;
}

const table = (head: string, rows: readonly string[], attributes = ''): string =>
  `<div class="wide"><table${attributes}>
<thead><tr>${head}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table></div>`;

const legend = () =>
  `<p class="legend">${OUTCOMES.map(outcome => `<span class="${outcome}">${SIGNS[outcome]}</span> ${outcome}`).join(' &ensp; ')}</p>`;

/** The worst outcome, how many of the cases have it, and the largest error. */
function cell(group: readonly Result[], profile: Profile): string {
  if (group.length === 0) return '<td></td>';
  const gravest = GRAVITY.find(outcome => countOf(group, outcome) > 0)!;
  const n = countOf(group, gravest);
  const counts = n === group.length ? String(n) : `${n}<small>/${group.length}</small>`;
  const all = outcomesOf(group).map(outcome => `${countOf(group, outcome)} ${outcome}`);
  const worst = largestError(group) ? errorOf(group, profile) : '';
  const error = worst && ` <small class="by">${worst}</small>`;
  return `<td class="${gravest}" title="${all.join(', ')}">${SIGNS[gravest]} ${counts}${error}</td>`;
}

/** The gravest first. */
const GRAVITY: readonly Outcome[] = ['error', 'fail', 'pass', 'skipped', 'unsupported'];

/** Where the largest error was. */
function worstCell(group: readonly Result[]): string {
  const worst = largestError(group);
  if (worst === undefined) return '<td class="worst"></td>';
  const at = group.find(result => result.worst === worst)!;
  return `<td class="worst" title="${text(at.address)}">${short(worst)}</td>`;
}

function failure(report: Report, result: Result): string {
  return `<article>
<h3><span class="${result.outcome}">${SIGNS[result.outcome]} ${result.outcome}</span> ${text(result.address)}</h3>
<p>${text(result.says)}</p>
<pre>${explain(result).map(text).join('\n')}</pre>
<p class="replay"><code>${text(replayOf(report, result))}</code></p>
</article>`;
}

const known = (group: readonly Result[]): string =>
  `<ul class="plain">${group.map(({ address, xfail }) => `<li><code>${text(address)}</code> ${text(xfail!)}</li>`).join('')}</ul>`;

const untried = (group: readonly Result[]): string =>
  [...groupBy(group, ({ outcome, reason }) => `${outcome}: ${reason}`)]
    .map(
      ([reason, same]) =>
        `<details><summary>${text(reason)} <small>${same.length}</small></summary><ul class="plain">${same
          .map(({ address }) => `<li><code>${text(address)}</code></li>`)
          .join('')}</ul></details>`,
    )
    .join('\n');

function everything(group: readonly Result[]): string {
  const rows = group.map(
    ({ address, outcome, worst, milliseconds, says }) =>
      `<tr title="${text(says)}"><td><code>${text(address)}</code></td><td class="${outcome}">${SIGNS[outcome]} ${outcome}</td>` +
      `<td class="worst">${worst === undefined ? '' : short(worst)}</td><td class="worst">${milliseconds.toFixed(1)}</td></tr>`,
  );
  const head = ['address', 'outcome', 'worst error', 'ms'].map(word => `<th>${word}</th>`).join('');
  return `<details><summary>Show them</summary>${table(head, rows)}</details>`;
}

function environment({ environment: values, milliseconds, replay }: Report): string {
  const rows = Object.entries({
    ...values,
    command: replay,
    time: `${(milliseconds / 1000).toFixed(1)} s`,
  }).map(([key, word]) => `<dt>${text(key)}</dt><dd>${text(word)}</dd>`);
  return `<section>\n<h2>Environment</h2>\n<dl>${rows.join('')}</dl>\n</section>`;
}
