/**
 * A matrix as coloured cells, with its colour scale beside it, in the page's colours of the moment.
 *
 * Where there are more cells than pixels, a pixel shows the value of its cells that is furthest from 0: an outlier must not get lost.
 */
export interface HeatmapOptions {
  /** The value of the full colour; what lies beyond has it too. Default: the largest |value|. */
  readonly max?: number;
  /** Two colours, for values below and above 0. Default: true. */
  readonly diverging?: boolean;
  /** What runs along the axes. */
  readonly x?: string;
  readonly y?: string;
  /** A column to draw a frame around. */
  readonly marked?: number;
}

const LEFT = 20;
const RIGHT = 74;
const BOTTOM = 20;
const TOP = 8;

const painters = new WeakMap<HTMLCanvasElement, () => void>();

/** Draws now, and again when the canvas's size or the colours change. */
export function heatmap(
  canvas: HTMLCanvasElement,
  values: ArrayLike<number>,
  rows: number,
  columns: number,
  { max = largest(values), diverging = true, x = '', y = '', marked }: HeatmapOptions = {},
): void {
  const isNew = !painters.has(canvas);
  painters.set(canvas, () =>
    paint(canvas, { values, rows, columns }, { max: max || 1, diverging, x, y, marked }),
  );
  const repaint = () => painters.get(canvas)!();
  canvas.setAttribute('role', 'img');
  if (isNew) {
    new ResizeObserver(repaint).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
  } else repaint();
}

function paint(
  canvas: HTMLCanvasElement,
  matrix: Matrix,
  { max, diverging, x, y, marked }: Required<Omit<HeatmapOptions, 'marked'>> & Pick<HeatmapOptions, 'marked'>,
): void {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (width === 0 || height === 0) return;
  const ratio = devicePixelRatio;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext('2d')!;
  context.scale(ratio, ratio);
  const colours = coloursOf(canvas, context, diverging);
  const box = { width: width - LEFT - RIGHT, height: height - TOP - BOTTOM };

  const small = pool(
    matrix,
    atMost(matrix.rows, box.height * ratio),
    atMost(matrix.columns, box.width * ratio),
  );
  const image = imageOf(small, value => colours(value / max));
  context.imageSmoothingEnabled = false;
  context.drawImage(image, LEFT, TOP, box.width, box.height);

  const least = diverging ? -1 : 0;
  const steps = Array.from({ length: 64 }, (_, i) => 1 - (i / 63) * (1 - least));
  const bar = imageOf({ values: steps, rows: steps.length, columns: 1 }, colours);
  const at = width - RIGHT + 10;
  context.drawImage(bar, at, TOP, 12, box.height);
  context.strokeStyle = colourOf(canvas, 'line');
  context.strokeRect(LEFT, TOP, box.width, box.height);
  context.strokeRect(at, TOP, 12, box.height);
  if (marked !== undefined) {
    const wide = box.width / matrix.columns;
    context.strokeStyle = colourOf(canvas, 'ink');
    context.lineWidth = 2;
    context.strokeRect(LEFT + marked * wide, TOP, wide, box.height);
  }

  context.fillStyle = colourOf(canvas, 'quiet');
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  for (const share of [1, 0, least])
    context.fillText(
      label(share * max),
      at + 17,
      Math.min(
        Math.max(TOP + ((1 - share) / (1 - least)) * box.height, TOP + 6),
        TOP + box.height - (share < 1 ? 5 : 0),
      ),
    );
  context.textAlign = 'center';
  context.fillText(x, LEFT + box.width / 2, height - BOTTOM / 2 + 2);
  context.rotate(-Math.PI / 2);
  context.fillText(y, -(TOP + box.height / 2), LEFT / 2 - 1);
  canvas.closest('figure')?.setAttribute('data-rendered', 'true');
}

interface Matrix {
  readonly values: ArrayLike<number>;
  readonly rows: number;
  readonly columns: number;
}

const atMost = (cells: number, pixels: number) => Math.max(1, Math.min(cells, Math.floor(pixels)));

/** The matrix in at most as many cells as there are pixels. */
function pool({ values, rows, columns }: Matrix, fewRows: number, fewColumns: number): Matrix {
  const pooled = new Float32Array(fewRows * fewColumns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const to =
        Math.floor((row * fewRows) / rows) * fewColumns + Math.floor((column * fewColumns) / columns);
      const value = values[row * columns + column];
      if (Math.abs(value) > Math.abs(pooled[to])) pooled[to] = value;
    }
  return { values: pooled, rows: fewRows, columns: fewColumns };
}

type Rgb = readonly [number, number, number];

function imageOf({ values, rows, columns }: Matrix, colour: (value: number) => Rgb): HTMLCanvasElement {
  const image = document.createElement('canvas');
  image.width = columns;
  image.height = rows;
  const context = image.getContext('2d')!;
  const pixels = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    pixels.data.set(colour(values[i]), 4 * i);
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return image;
}

/** From −1 … 1 to colours: as many steps as an eye can tell apart. */
function coloursOf(
  canvas: HTMLCanvasElement,
  context: CanvasRenderingContext2D,
  diverging: boolean,
): (share: number) => Rgb {
  const rgb = (name: string): Rgb => {
    context.fillStyle = colourOf(canvas, name);
    const hex = `${context.fillStyle}`;
    return [1, 3, 5].map(i => Number.parseInt(hex.slice(i, i + 2), 16)) as unknown as Rgb;
  };
  const [zero, above, below] = ['raised', diverging ? 'series-2' : 'accent', 'series-1'].map(rgb);
  const steps = Array.from({ length: 257 }, (_, i): Rgb => {
    const share = (i - 128) / 128;
    const end = share < 0 ? below : above;
    return zero.map((c, k) => c + (end[k] - c) * Math.abs(share)) as unknown as Rgb;
  });
  return share => steps[Math.round(Math.min(Math.max(share, -1), 1) * 128) + 128];
}

/** A custom property's colour, of the scheme in use: only a property that takes a colour is resolved. */
function colourOf(canvas: HTMLCanvasElement, name: string): string {
  canvas.style.color = `var(--${name})`;
  return getComputedStyle(canvas).color;
}

function largest(values: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, Math.abs(values[i]));
  return max;
}

const label = (value: number): string =>
  `${Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(2))}`.replace('-', '−');
