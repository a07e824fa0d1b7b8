/**
 * A matrix as colours, on a canvas: 0 is the paper, positive values go to one colour and negative ones to another. Where the figure is narrower than the columns, each pixel shows the largest of its columns.
 */
import { element } from './dom.ts';

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  /** The value in a row and a column is values[row · rowStride + column · columnStride]. */
  readonly values: Float32Array;
  readonly rowStride: number;
  readonly columnStride: number;
  /** |value| of the full colour. */
  readonly most: number;
  /** How much colour a part of `most` has: partᵖ. Below 1, small values show. Default: 1. */
  readonly power?: number;
}

export interface HeatmapWords {
  readonly alt: string;
  readonly caption: string;
  /** Of the two axes, with their ranges. */
  readonly x: string;
  readonly y: string;
  /** What the full colour stands for. */
  readonly most: string;
}

/** Kept until the colour scheme changes: to ask for them makes the browser lay out the page. */
let palette: readonly [paper: Colour, positive: Colour, negative: Colour] | undefined;

type Colour = readonly [red: number, green: number, blue: number];
const redraws = new WeakMap<HTMLElement, () => void>();
const shown = new Set<HTMLElement>();

/** Draws into `figure`; again when its width or the colour scheme changes. */
export function heatmap(figure: HTMLElement, rowHeight: number, matrix: Matrix, words: HeatmapWords): void {
  const { canvas, texts } = partsOf(figure);
  canvas.style.height = `${rowHeight * matrix.rows}px`;
  canvas.setAttribute('aria-label', words.alt);
  texts.y.textContent = words.y;
  texts.x.textContent = words.x;
  texts.key.textContent = words.most;
  texts.caption.textContent = words.caption;
  const redraw = () => {
    if (canvas.clientWidth === 0) return;
    paint(canvas, matrix);
    figure.dataset.rendered = 'true';
  };
  redraws.set(figure, redraw);
  redraw();
}

interface Parts {
  readonly canvas: HTMLCanvasElement;
  readonly texts: Readonly<Record<'x' | 'y' | 'key' | 'caption', HTMLElement>>;
}
const parts = new WeakMap<HTMLElement, Parts>();

function partsOf(figure: HTMLElement): Parts {
  const known = parts.get(figure);
  if (known) return known;
  const canvas = element('canvas', { className: 'heatmap' });
  canvas.setAttribute('role', 'img');
  const text = (className: string) => element('span', { className });
  const texts = { x: text(''), y: text('axis'), key: text(''), caption: element('figcaption') };
  const key = element('span', { className: 'key' }, element('span', { className: 'ramp' }), texts.key);
  figure.classList.add('figure');
  figure.replaceChildren(
    texts.y,
    canvas,
    element('div', { className: 'axis between' }, texts.x, key),
    texts.caption,
  );
  const made = { canvas, texts };
  parts.set(figure, made);
  shown.add(figure);
  new ResizeObserver(() => redraws.get(figure)?.()).observe(canvas);
  return made;
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  palette = undefined;
  for (const figure of shown) redraws.get(figure)?.();
});

function paint(canvas: HTMLCanvasElement, matrix: Matrix): void {
  const { rows, columns, values, rowStride, columnStride, most, power = 1 } = matrix;
  const width = Math.min(columns, Math.round(canvas.clientWidth));
  palette ??= [colourOf(canvas, '--raised'), colourOf(canvas, '--series-2'), colourOf(canvas, '--series-1')];
  const [paper, positive, negative] = palette;
  const image = new ImageData(width, rows);
  for (let row = 0; row < rows; row++)
    for (let x = 0; x < width; x++) {
      let value = 0;
      const end = Math.floor(((x + 1) * columns) / width);
      for (let column = Math.floor((x * columns) / width); column < end; column++) {
        const each = values[row * rowStride + column * columnStride];
        if (Math.abs(each) > Math.abs(value)) value = each;
      }
      const full = value < 0 ? negative : positive;
      const part = most > 0 ? Math.min(1, Math.abs(value) / most) : 0;
      const t = power === 1 ? part : part ** power;
      const pixel = 4 * (row * width + x);
      for (let c = 0; c < 3; c++) image.data[pixel + c] = paper[c] + t * (full[c] - paper[c]);
      image.data[pixel + 3] = 255;
    }
  Object.assign(canvas, { width, height: rows });
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
