/** Small things that every section of the page needs. */

export const byId = <T extends HTMLElement = HTMLElement>(id: string): T => {
  const found = document.getElementById(id);
  if (!found) throw new Error(`This page has no element ${id}.`);
  return found as T;
};

type Content = string | Node;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...content: readonly Content[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...content);
  return made;
}

/** A table with a heading for each column and each row; it scrolls inside itself where it is too wide. */
export function table(
  label: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): HTMLElement {
  const cell = (text: string, i: number) =>
    i === 0
      ? element('th', { scope: 'row', textContent: text })
      : element('td', { className: 'number', textContent: text });
  const made = element(
    'table',
    {},
    element('caption', { textContent: label }),
    element(
      'thead',
      {},
      element(
        'tr',
        {},
        ...head.map((text, i) =>
          element('th', { scope: 'col', className: i ? 'number' : '', textContent: text }),
        ),
      ),
    ),
    element('tbody', {}, ...rows.map(row => element('tr', {}, ...row.map(cell)))),
  );
  const scroller = element('div', { className: 'scroll', tabIndex: 0 }, made);
  scroller.setAttribute('role', 'region');
  scroller.setAttribute('aria-label', label);
  return scroller;
}

/** Three significant digits, two and a power of ten where that is shorter. */
export const short = (x: number): string => {
  const size = Math.abs(x);
  if (size !== 0 && (size >= 1e4 || size < 1e-3)) {
    const [digits, power] = x.toExponential(1).split('e');
    return signed(`${digits} · 10${[...`${Number(power)}`].map(digit => SUPERSCRIPTS[digit]).join('')}`);
  }
  return signed(`${Number(x.toPrecision(3))}`);
};
export const signed = (text: string): string => text.replace('-', '−');
const SUPERSCRIPTS: Readonly<Record<string, string>> = Object.fromEntries(
  [...'-0123456789'].map((digit, i) => [digit, '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'[i]]),
);

export const percent = (share: number): string =>
  share === 0 ? 'none' : share < 1e-4 ? '< 0.01 %' : `${Number((100 * share).toPrecision(3))} %`;

export const decibels = (snr: number | null): string => (snr === null ? 'exact' : `${snr.toFixed(1)} dB`);

/**
 * One request at a time, and of those that come meanwhile only the last: a slider that is dragged does not make a queue.
 */
export function latest<A>(
  run: (asked: A) => Promise<void>,
  fail: (error: unknown) => void,
): (asked: A) => void {
  let waiting: { readonly asked: A } | undefined;
  let busy = false;
  return async asked => {
    waiting = { asked };
    if (busy) return;
    busy = true;
    while (waiting) {
      const next: A = waiting.asked;
      waiting = undefined;
      await run(next).catch(fail);
    }
    busy = false;
  };
}

/** Two figures in one frame would make it a long one. */
export const nextFrame = (): Promise<unknown> => new Promise(requestAnimationFrame);

/** Calls when nothing more has come for a while. */
export function settled(call: () => void, milliseconds: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}
