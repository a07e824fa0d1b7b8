/** A report as Markdown: for a pull request, a summary of continuous integration, or a page of results. */
import { OUTCOMES } from '../case.ts';
import type { Report } from './report.ts';
import { byRow, conclusion, countOf, errorOf, explain, isFailure, reasons, replayOf } from './report.ts';

/** Failures that are shown in full. */
const SHOWN = 50;

export function renderMarkdown(report: Report): string {
  const { results, backend, profile, environment } = report;
  const rows = byRow(results).map(([row, group]) => {
    const counts = OUTCOMES.map(outcome => countOf(group, outcome) || '');
    return [`\`${row}\``, ...counts, errorOf(group, profile)];
  });
  const failures = results.filter(isFailure);
  const details = failures
    .slice(0, SHOWN)
    .map(result =>
      [
        `#### \`${result.address}\``,
        `${plain(result.says)}\n`,
        '```text',
        `${result.outcome}: ${explain(result).join('\n')}`,
        replayOf(report, result),
        '```',
      ].join('\n'),
    );
  if (failures.length > SHOWN) details.push(`and ${failures.length - SHOWN} more`);
  const untried = reasons(results).map(([outcome, count, reason]) => [outcome, count, plain(reason)]);
  const known = results
    .filter(({ xfail }) => xfail !== undefined)
    .map(({ address, outcome, xfail }) => [`\`${address}\``, outcome, plain(xfail!)]);
  const about = Object.entries(environment).map(([key, word]) => [key, plain(word)]);
  return `${[
    `## Conformance of \`${backend}\`, profile ${profile}`,
    `**${conclusion(report).says}**`,
    rows.length ? table(['', ...OUTCOMES, 'worst error / bound'], rows) : '',
    details.length ? `### Failures\n\n${details.join('\n\n')}` : '',
    untried.length ? `### Not tried\n\n${table(['outcome', 'cases', 'reason'], untried)}` : '',
    known.length ? `### Expected to fail\n\n${table(['case', 'outcome', 'reason'], known)}` : '',
    `### Environment\n\n${table(['', ''], about)}`,
  ]
    .filter(text => text !== '')
    .join('\n\n')}\n`;
}

type Row = readonly (string | number)[];
const table = (head: readonly string[], rows: readonly Row[]): string =>
  [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n');

/** Escapes what would be markup, or would end a cell of a table. */
const plain = (text: string): string => text.replace(/[\\`*_[\]<>|]/g, '\\$&').replaceAll('\n', ' ');
