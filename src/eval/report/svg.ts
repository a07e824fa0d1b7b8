/** Pieces of SVG as strings. All text is escaped here and nowhere else. */
import { escapeXml } from '../../formats/xml.ts';

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** A plot: what is drawn, what it is called, and the same in a sentence for those who do not see it. */
export interface Plot {
  /** Of the file, and of the element in the page. */
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly width: number;
  readonly height: number;
  readonly body: string;
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

export const path = (points: readonly Point[], more: Attributes = {}): string =>
  element('path', {
    d: points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${written(x)} ${written(y)}`).join(''),
    ...more,
  });

/** Says what it is where a pointer rests on it. */
export const tip = (says: string): string => element('title', {}, escapeXml(says));

/** Shapes that differ without colour, around a point. */
export function marker(
  kind: number,
  [x, y]: Point,
  size: number,
  more: Attributes,
  ...inner: string[]
): string {
  const closed = (points: readonly Point[]) =>
    element(
      'path',
      { d: `M${points.map(([px, py]) => `${written(px)} ${written(py)}`).join('L')}Z`, ...more },
      ...inner,
    );
  const s = size;
  const shapes = [
    () => element('circle', { cx: x, cy: y, r: s, ...more }, ...inner),
    () =>
      element('rect', { x: x - s * 0.9, y: y - s * 0.9, width: 1.8 * s, height: 1.8 * s, ...more }, ...inner),
    () =>
      closed([
        [x, y - 1.2 * s],
        [x + 1.15 * s, y + 0.8 * s],
        [x - 1.15 * s, y + 0.8 * s],
      ]),
    () =>
      closed([
        [x, y - 1.3 * s],
        [x + 1.3 * s, y],
        [x, y + 1.3 * s],
        [x - 1.3 * s, y],
      ]),
    () =>
      closed([
        [x, y + 1.2 * s],
        [x + 1.15 * s, y - 0.8 * s],
        [x - 1.15 * s, y - 0.8 * s],
      ]),
  ];
  return shapes[kind % shapes.length]();
}

/** About how wide a text is, in a sans-serif font of `size` pixels. */
export const textWidth = (says: string, size = 12): number => says.length * size * 0.56;

/** A plot inside a page. */
export const inline = (plot: Plot): string =>
  drawn(plot, {
    class: 'plot',
    style: `max-width:${plot.width}px`,
  });

/** A plot as a file of its own, with its colours. */
export const standalone = (plot: Plot, style: string): string =>
  `${drawn(plot, { xmlns: 'http://www.w3.org/2000/svg', class: 'plot', width: plot.width, height: plot.height }, style)}\n`;

function drawn(plot: Plot, more: Attributes, style?: string): string {
  const { id, title, description, width, height, body } = plot;
  return element(
    'svg',
    {
      ...more,
      viewBox: `0 0 ${width} ${height}`,
      role: 'img',
      'aria-labelledby': `${id}-title ${id}-desc`,
    },
    element('title', { id: `${id}-title` }, escapeXml(title)),
    element('desc', { id: `${id}-desc` }, escapeXml(description)),
    style === undefined ? '' : `<style>${style}</style>${rect(0, 0, width, height, { class: 'back' })}`,
    body,
  );
}
