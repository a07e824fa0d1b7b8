/**
 * Figures: Observable Plot in the page's colours, each with a title and a sentence that says in words what it shows. A figure
 * has the class `figure`, and `data-rendered` once it is drawn.
 */
import * as Plot from '@observablehq/plot';

export { Plot };

export const colour = (name: string): string => `var(--${name})`;
export const SERIES = [1, 2, 3, 4].map(i => `var(--series-${i})`);

/** Draws into `figure`, and again when its width changes. `alt` is for who cannot see it. */
export function draw(
  figure: HTMLElement,
  { alt, caption }: { readonly alt: string; readonly caption: string },
  options: (width: number) => Plot.PlotOptions,
): void {
  figure.classList.add('figure');
  const text = Object.assign(document.createElement('figcaption'), { textContent: caption });
  const render = (width: number) => {
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
    figure.replaceChildren(plot, text);
    figure.dataset.rendered = 'true';
  };
  stopDrawing(figure);
  let drawn = 0;
  const observer = new ResizeObserver(([{ contentRect }]) => {
    const width = Math.round(Math.min(contentRect.width, 900));
    if (width > 0 && width !== drawn) render((drawn = width));
  });
  observer.observe(figure);
  observers.set(figure, observer);
}

const observers = new WeakMap<HTMLElement, ResizeObserver>();
export function stopDrawing(figure: HTMLElement): void {
  observers.get(figure)?.disconnect();
}
