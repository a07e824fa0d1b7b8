/** What every lesson is made of, beside its text: controls, the sources of ops, and an error that is said. */
import '../header.ts';
import './lesson.css';
import { byId, element, sentenceOf } from '../dom.ts';
import { breath } from '../pace.ts';
import { highlighted } from './highlight.ts';

/** Runs a part of a lesson; what goes wrong stands where the reader looks for the figures. */
export async function part(run: () => void | Promise<void>): Promise<void> {
  try {
    await breath(); // the libraries' own beginning was one piece of work
    await run();
  } catch (error) {
    const said = element('p', {
      className: 'error',
      textContent: `The figures of this page cannot be drawn: ${sentenceOf(error)}`,
      attributes: { role: 'alert' },
    });
    byId('main').querySelector('h1')!.after(said);
  }
}

/** A slider; `words` says its value beside it and to whoever cannot see it. */
export function slider(id: string, words: (value: number) => string, change: () => void): () => number {
  const input = byId<HTMLInputElement>(id);
  const shown = element('span', { className: 'value', ariaHidden: 'true' });
  const label = [...input.parentElement!.childNodes].filter(node => node !== input);
  input.before(element('span', {}, ...label, shown));
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
  const select = byId<HTMLSelectElement>(id);
  for (const [value, text] of Object.entries(options)) select.add(new Option(text, value));
  select.addEventListener('change', change);
  return () => select.value;
}

/** The text of a sample, with one of its tokens marked. */
export function showWords(tokens: readonly string[], marked: number): void {
  const words = tokens.map((textContent, i) => element(i === marked ? 'mark' : 'span', { textContent }));
  byId('words').replaceChildren(...words);
}

/** The source of an op, as it is in the library. */
export async function showSources(sources: Readonly<Record<string, string>>): Promise<void> {
  const into = byId('sources');
  for (const [file, text] of Object.entries(sources)) {
    await breath();
    const open = into.childElementCount === 0;
    const summary = element('summary', {}, element('code', { textContent: file }));
    into.append(element('details', { open }, summary, sourceOf(file, text)));
  }
}

function sourceOf(file: string, text: string): HTMLElement {
  const attributes = { role: 'region', 'aria-label': `Source of ${file}` };
  const spans = highlighted(text).map(({ kind, text }) =>
    kind ? element('span', { className: kind, textContent: text }) : text,
  );
  return element('pre', { className: 'source', tabIndex: 0, attributes }, ...spans);
}
