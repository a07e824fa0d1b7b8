/**
 * Figures: Observable Plot in the page's colours, each with a title and a sentence that says in words what it shows. A figure
 * has the class `figure`, and `data-rendered` once it is drawn.
 */
import * as Plot from '@observablehq/plot';
import { element } from './dom.ts';
import { inTurn } from './turns.ts';

export { Plot };

export const colour = (name: string): string => `var(--${name})`;
export const SERIES = [1, 2, 3, 4].map(i => `var(--series-${i})`);

interface Drawing {
  readonly alt: string;
  readonly caption: string;
  readonly options: (width: number) => Plot.PlotOptions;
  width: number;
}
const drawings = new WeakMap<Element, Drawing>();
let widths: ResizeObserver | undefined;

/** Draws into `figure` when its turn comes, and again when its width changes. `alt` is for who cannot see it. */
export function draw(
  figure: HTMLElement,
  { alt, caption }: { readonly alt: string; readonly caption: string },
  options: (width: number) => Plot.PlotOptions,
): void {
  figure.classList.add('figure');
  const width = drawings.get(figure)?.width ?? 0;
  drawings.set(figure, { alt, caption, options, width });
  widths ??= new ResizeObserver(resized);
  if (width > 0) inTurn(figure, () => render(figure));
  else widths.observe(figure);
}

function resized(entries: readonly ResizeObserverEntry[]): void {
  for (const { target, contentRect } of entries) {
    const drawing = drawings.get(target)!;
    const width = Math.round(Math.min(contentRect.width, 900));
    if (width === 0 || width === drawing.width) continue;
    drawing.width = width;
    inTurn(target, () => render(target as HTMLElement));
  }
}

function render(figure: HTMLElement): void {
  const { alt, caption, options, width } = drawings.get(figure)!;
  const plot = Plot.plot({
    width,
    style: { background: 'transparent', color: 'var(--ink)', fontSize: '12px' },
    ...options(width),
  });
  const svg = plot instanceof SVGElement ? plot : plot.querySelector(':scope > svg')!; // not a legend's
  // One image, one sentence: the names that Plot gives its groups are not for a reader, and not allowed on them.
  for (const part of svg.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', alt);
  figure.replaceChildren(plot, element('figcaption', { textContent: caption }));
  figure.dataset.rendered = 'true';
}
