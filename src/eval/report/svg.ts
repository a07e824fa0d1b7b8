/** Pieces of SVG as strings. All text is escaped here and nowhere else. */
import { escapeXml } from '../../formats/xml.ts';

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** Of all plots. */
export const WIDTH = 760;

/** A plot: what is drawn, what it is called, and the same in a sentence for those who do not see it. */
export interface Plot {
  /** Of the file, and of the element in the page. */
  readonly id: string;
  /** Stand above it. */
  readonly title: string;
  readonly subtitle: string;
  readonly description: string;
  readonly height: number;
  readonly body: readonly string[];
}

/** Coordinates to a tenth of a pixel: small files that are the same everywhere. */
const written = (value: string | number): string =>
  typeof value === 'number' ? `${Math.round(value * 10) / 10 || 0}` : escapeXml(value);

export function element(name: string, attributes: Attributes, ...inner: readonly string[]): string {
  const given = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : ` ${key}="${written(value)}"`,
  );
  const body = inner.join('');
  return body === '' ? `<${name}${given.join('')}/>` : `<${name}${given.join('')}>${body}</${name}>`;
}

export type Anchor = 'start' | 'middle' | 'end';

export const text = (
  x: number,
  y: number,
  says: string,
  { anchor = 'start', ...more }: Attributes & { readonly anchor?: Anchor } = {},
): string => element('text', { x, y, 'text-anchor': anchor, ...more }, escapeXml(says) || ' ');

export const line = (x1: number, y1: number, x2: number, y2: number, more: Attributes = {}): string =>
  element('line', { x1, y1, x2, y2, ...more });

export const rect = (x: number, y: number, width: number, height: number, more: Attributes = {}): string =>
  element('rect', { x, y, width: Math.max(width, 0), height: Math.max(height, 0), ...more });

export type Point = readonly [number, number];

const steps = (points: readonly Point[]): string =>
  points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${written(x)} ${written(y)}`).join('');

export const path = (points: readonly Point[], more: Attributes = {}): string =>
  element('path', { d: steps(points), ...more });

/** Says what it is where a pointer rests on it. */
export const tip = (says: string): string => element('title', {}, escapeXml(says));

/** Shapes that differ without colour, by their corners: a square, a triangle, a diamond, a triangle on its tip. */
/* biome-ignore format: a table */
const SHAPES: readonly (readonly Point[])[] = [
  [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  [[0, -1.2], [1.15, 0.8], [-1.15, 0.8]],
  [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
  [[0, 1.2], [1.15, -0.8], [-1.15, -0.8]],
];

/** A circle (kind 0) or one of the shapes around a point, and what it says. */
export function marker(kind: number, [x, y]: Point, size: number, colour: number, says = ''): string {
  const inner = says && tip(says);
  const corners = SHAPES[(kind % (SHAPES.length + 1)) - 1];
  if (!corners) return element('circle', { cx: x, cy: y, r: size, class: `f${colour}` }, inner);
  const points = corners.map(([dx, dy]): Point => [x + dx * size, y + dy * size]);
  return element('path', { d: `${steps(points)}Z`, class: `f${colour}` }, inner);
}

type CurveLook = {
  readonly colour: number;
  readonly kind?: number;
  readonly size?: number;
  readonly dash?: string;
};
/** A line with a marker at each of its points. */
export const curve = (
  points: readonly Point[],
  { colour, kind = 0, size = 3.2, dash }: CurveLook,
  says: (i: number) => string,
): string =>
  path(points, { class: `s${colour} curve`, 'stroke-dasharray': dash }) +
  points.map((point, i) => marker(kind, point, size, colour, says(i))).join('');

/** About how wide a text of 12 pixels is, in DejaVu Sans, which is wider than most. */
export const textWidth = (says: string, isBold = false): number => {
  const letters = [...says].map(letter =>
    /[fijlrt .,-]/.test(letter) ? 4.4 : /[mw]/.test(letter) ? 11 : 7.5,
  );
  return letters.reduce((sum, width) => sum + width, 0) * (isBold ? 1.12 : 1);
};

/** A plot inside a page. */
export const inline = (plot: Plot): string => drawn(plot, { class: 'plot', style: `max-width:${WIDTH}px` });

/** A plot as a file of its own, with its colours. */
export const standalone = (plot: Plot, style: string): string =>
  `${drawn(plot, { xmlns: 'http://www.w3.org/2000/svg', class: 'plot', width: WIDTH, height: plot.height }, style)}\n`;

function drawn(plot: Plot, more: Attributes, style?: string): string {
  const { id, title, subtitle, description, height, body } = plot;
  const named = { role: 'img', 'aria-labelledby': `${id}-title ${id}-desc` };
  return element(
    'svg',
    { ...more, viewBox: `0 0 ${WIDTH} ${height}`, ...named },
    element('title', { id: `${id}-title` }, escapeXml(title)),
    element('desc', { id: `${id}-desc` }, escapeXml(description)),
    style === undefined ? '' : `<style>${style}</style>${rect(0, 0, WIDTH, height, { class: 'back' })}`,
    text(0, 16, title, { class: 'head' }),
    text(0, 34, subtitle, { class: 'soft' }),
    ...body,
  );
}
