/** What every lesson is made of, beside its text: controls, the sources of ops, and an error that is said. */
import '../header.ts';
import './lesson.css';
import { highlighted } from './highlight.ts';

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element '${id}'`);
  return found as T;
}

/** Runs a part of a lesson; what goes wrong stands where the reader looks for the figures. */
export async function part(run: () => void | Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    const said = Object.assign(document.createElement('p'), {
      className: 'error',
      textContent: `The figures of this page cannot be drawn: ${(error as Error).message}.`,
    });
    said.setAttribute('role', 'alert');
    element('main').querySelector('h1')!.after(said);
  }
}

/** A slider; `words` says its value beside it and to whoever cannot see it. */
export function slider(id: string, words: (value: number) => string, change: () => void): () => number {
  const input = element<HTMLInputElement>(id);
  const name = document.createElement('span');
  const shown = Object.assign(document.createElement('span'), { className: 'value' });
  shown.setAttribute('aria-hidden', 'true');
  name.append(...[...input.parentElement!.childNodes].filter(node => node !== input), shown);
  input.before(name);
  const say = () => {
    shown.textContent = words(input.valueAsNumber);
    input.setAttribute('aria-valuetext', words(input.valueAsNumber));
  };
  input.addEventListener('input', () => {
    say();
    change();
  });
  say();
  return () => input.valueAsNumber;
}

/** A list to choose from. */
export function choice(id: string, options: Readonly<Record<string, string>>, change: () => void) {
  const select = element<HTMLSelectElement>(id);
  for (const [value, text] of Object.entries(options)) select.add(new Option(text, value));
  select.addEventListener('change', change);
  return () => select.value;
}

/** The source of an op, as it is in the library. */
export function showSources(sources: Readonly<Record<string, string>>): void {
  const into = element('sources');
  for (const [file, text] of Object.entries(sources)) {
    const block = document.createElement('details');
    block.open = into.childElementCount === 0;
    const pre = highlighted(text);
    pre.tabIndex = 0;
    pre.setAttribute('role', 'region');
    pre.setAttribute('aria-label', `Source of ${file}`);
    const summary = document.createElement('summary');
    summary.append(Object.assign(document.createElement('code'), { textContent: file }));
    block.append(summary, pre);
    into.append(block);
  }
}

/** A table of rows of texts; the first row is the head, the first column names the row. */
export function fillTable(id: string, [head, ...rows]: readonly (readonly string[])[]): void {
  const cell = (text: string, isHead: boolean, column: number) => {
    const made = Object.assign(document.createElement(text && (isHead || column === 0) ? 'th' : 'td'), {
      textContent: text,
    });
    if (column > 0) made.className = 'number';
    if (made.tagName === 'TH') made.setAttribute('scope', isHead ? 'col' : 'row');
    return made;
  };
  const table = element<HTMLTableElement>(id);
  const line = (texts: readonly string[], isHead: boolean) => {
    const row = document.createElement('tr');
    row.append(...texts.map((text, i) => cell(text, isHead, i)));
    return row;
  };
  const [thead, tbody] = ['thead', 'tbody'].map(tag => document.createElement(tag));
  thead.append(line(head, true));
  tbody.append(...rows.map(row => line(row, false)));
  const scroll = table.closest<HTMLElement>('.scroll');
  if (scroll) scroll.tabIndex = 0; // so that the arrow keys reach what a narrow page cuts off
  const caption = table.caption;
  table.replaceChildren(...(caption ? [caption] : []), thead, tbody);
}
