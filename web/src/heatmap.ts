/** A matrix as colours, on a canvas: 0 is the paper, positive values go to one colour and negative ones to another. */
import './heatmap.css';
import { element } from './dom.ts';
import { type Matrix, pooled } from './matrix.ts';
import { number } from './numbers.ts';
import { inTurn } from './turns.ts';

export interface Cells extends Matrix {
  /** |value| of the full colour. */
  readonly most: number;
  /** How much colour a part of `most` has: partᵖ. Below 1, small values show. Default: 1. */
  readonly power?: number;
  /** Pixels. */
  readonly rowHeight: number;
  /** A column to draw a frame around. */
  readonly marked?: number;
}

export interface Words {
  readonly alt: string;
  readonly caption: string;
  /** Of the two axes, with their ranges. */
  readonly x: string;
  readonly y: string;
}

type Colour = readonly [red: number, green: number, blue: number];
/** Kept until the colour scheme changes: to ask for them makes the browser lay out the page. */
let palette: readonly [paper: Colour, positive: Colour, negative: Colour] | undefined;

interface Parts {
  readonly canvas: HTMLCanvasElement;
  readonly mark: HTMLElement;
  readonly texts: Readonly<Record<'x' | 'y' | 'key' | 'caption', HTMLElement>>;
}
interface Heatmap {
  readonly parts: Parts;
  cells: Cells;
  words: Words;
}
const heatmaps = new Map<HTMLElement, Heatmap>();
let sizes: ResizeObserver | undefined;

/** Draws into `figure` when its turn comes; again when its width or the colour scheme changes. */
export function heatmap(figure: HTMLElement, cells: Cells, words: Words): void {
  const known = heatmaps.get(figure);
  if (known) {
    Object.assign(known, { cells, words });
    redraw(figure);
    return;
  }
  const parts = partsIn(figure);
  parts.canvas.style.height = `${cells.rowHeight * cells.rows}px`;
  heatmaps.set(figure, { parts, cells, words });
  sizes ??= watch();
  sizes.observe(figure);
}

const redraw = (figure: HTMLElement): void => inTurn(figure, () => render(figure));

function watch(): ResizeObserver {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    palette = undefined;
    for (const figure of heatmaps.keys()) redraw(figure);
  });
  const widths = new WeakMap<Element, number>();
  return new ResizeObserver(entries => {
    for (const { target, contentRect } of entries) {
      if (contentRect.width === 0 || contentRect.width === widths.get(target)) continue;
      widths.set(target, contentRect.width);
      redraw(target as HTMLElement);
    }
  });
}

function partsIn(figure: HTMLElement): Parts {
  const canvas = element('canvas', { attributes: { role: 'img' } });
  const mark = element('span', { className: 'mark', hidden: true });
  const span = (className = '') => element('span', { className });
  const texts = { x: span(), y: span('axis'), key: span(), caption: element('figcaption') };
  const key = element('span', { className: 'key' }, element('span', { className: 'ramp' }), texts.key);
  figure.classList.add('figure');
  figure.replaceChildren(
    texts.y,
    element('div', { className: 'heatmap' }, canvas, mark),
    element('div', { className: 'axis between' }, texts.x, key),
    texts.caption,
  );
  return { canvas, mark, texts };
}

function render(figure: HTMLElement): void {
  const { parts, cells, words } = heatmaps.get(figure)!;
  const { canvas, mark, texts } = parts;
  canvas.style.height = `${cells.rowHeight * cells.rows}px`;
  canvas.setAttribute('aria-label', words.alt);
  texts.x.textContent = words.x;
  texts.y.textContent = words.y;
  texts.key.textContent = `${number(-cells.most)} … ${number(cells.most)}`;
  texts.caption.textContent = words.caption;
  mark.hidden = cells.marked === undefined;
  mark.style.left = `${(100 * (cells.marked ?? 0)) / cells.columns}%`;
  mark.style.width = `${100 / cells.columns}%`;
  if (canvas.clientWidth === 0) return; // hidden for now: it comes again with a width
  paint(canvas, cells);
  figure.dataset.rendered = 'true';
}

function paint(canvas: HTMLCanvasElement, { most, power = 1, ...matrix }: Cells): void {
  const { values, rows, columns } = pooled(matrix, canvas.clientWidth);
  palette ??= [colourOf(canvas, '--raised'), colourOf(canvas, '--series-2'), colourOf(canvas, '--series-1')];
  const [paper, positive, negative] = palette;
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    const full = values[i] < 0 ? negative : positive;
    const part = most > 0 ? Math.min(1, Math.abs(values[i]) / most) : 0;
    const t = power === 1 ? part : part ** power;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = paper[c] + t * (full[c] - paper[c]);
    image.data[4 * i + 3] = 255;
  }
  Object.assign(canvas, { width: columns, height: rows });
  canvas.getContext('2d')!.putImageData(image, 0, 0);
}

/** A custom property's own value may be a `light-dark(…)` that only a property of the element resolves. */
function colourOf(canvas: HTMLElement, name: string): Colour {
  canvas.style.color = `var(${name})`;
  const [red, green, blue] = getComputedStyle(canvas)
    .color.match(/[\d.]+/g)!
    .map(Number);
  canvas.style.color = '';
  return [red, green, blue];
}
