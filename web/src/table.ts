/** Tables of texts: the first row is the head, the first column names the row. */
import { element } from './dom.ts';

type Rows = readonly (readonly string[])[];

/** Replaces all but the caption. Where the table stands in a scroller, the arrow keys reach what a narrow page cuts off. */
export function fillTable(table: HTMLTableElement, [head, ...rows]: Rows): void {
  const line = (texts: readonly string[], isHead: boolean) =>
    element('tr', {}, ...texts.map((text, column) => cell(text, isHead, column)));
  const { caption } = table;
  table.replaceChildren(
    ...(caption ? [caption] : []),
    element('thead', {}, line(head, true)),
    element('tbody', {}, ...rows.map(row => line(row, false))),
  );
  const scroller = table.closest<HTMLElement>('.scroll');
  if (scroller) scroller.tabIndex = 0;
}

function cell(text: string, isHead: boolean, column: number): HTMLElement {
  const className = column > 0 ? 'number' : '';
  return text && (isHead || column === 0)
    ? element('th', { className, textContent: text, scope: isHead ? 'col' : 'row' })
    : element('td', { className, textContent: text });
}

/** A table with a caption, in a scroller of its own. */
export function newTable(label: string, rows: Rows): HTMLElement {
  const table = element('table', {}, element('caption', { textContent: label }));
  const attributes = { role: 'region', 'aria-label': label };
  const scroller = element('div', { className: 'scroll', attributes }, table);
  fillTable(table, rows);
  return scroller;
}
