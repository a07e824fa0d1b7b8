/** Labels beside points, where they cover neither each other nor a point nor the frame. */

import type { Box } from './axes.ts';
import { type Anchor, line, type Point, text, textWidth } from './svg.ts';

export interface Labelled {
  readonly at: Point;
  readonly label: string;
  readonly class?: string;
}

const HEIGHT = 14;

interface Place {
  readonly box: Box;
  readonly x: number;
  readonly y: number;
  readonly anchor: Anchor;
  /** From the point. */
  readonly far: boolean;
}

/**
 * Places labels one after the other, each at the first free place: right, left, above, below, then in rings further off, with a line to
 * its point. Where none is free, the one that covers least. `obstacles` are what else must stay visible.
 */
export function placeLabels(points: readonly Labelled[], frame: Box, obstacles: readonly Box[] = []): string {
  const taken = [...obstacles];
  for (const { at } of points) taken.push(around(at, 6));
  return points
    .map(({ at: [x, y], label, class: name }) => {
      const { box, ...best } = leastCovering(places([x, y], textWidth(label)), taken, frame);
      taken.push(box);
      const nearest = Math.min(Math.max(x, box.left), box.right);
      const side = (box.top + box.bottom) / 2 + (box.top > y ? -6 : 6);
      return (
        (best.far ? line(x, y, nearest, side, { class: 'lead' }) : '') +
        text(best.x, best.y, label, { anchor: best.anchor, class: `halo ${name ?? ''}`.trim() })
      );
    })
    .join('');
}

const around = ([x, y]: Point, by: number): Box => ({
  left: x - by,
  right: x + by,
  top: y - by,
  bottom: y + by,
});

function* places([x, y]: Point, width: number): Generator<Place> {
  const place = (cx: number, cy: number, anchor: Anchor, far: boolean): Place => {
    const left = anchor === 'start' ? cx : anchor === 'end' ? cx - width : cx - width / 2;
    return {
      box: { left, right: left + width, top: cy - HEIGHT / 2, bottom: cy + HEIGHT / 2 },
      ...{ x: cx, y: cy + 4, anchor, far },
    };
  };
  yield place(x + 10, y, 'start', false);
  yield place(x - 10, y, 'end', false);
  yield place(x, y - 15, 'middle', false);
  yield place(x, y + 15, 'middle', false);
  for (const ring of [22, 36, 52, 70, 90, 112])
    for (const [dx, dy, anchor] of DIRECTIONS) yield place(x + dx * ring, y + dy * ring, anchor, true);
}
const DIRECTIONS: readonly (readonly [number, number, Anchor])[] = [
  [0.8, -0.6, 'start'],
  [0.8, 0.6, 'start'],
  [-0.8, -0.6, 'end'],
  [-0.8, 0.6, 'end'],
  [0, -1, 'middle'],
  [0, 1, 'middle'],
];

/** The area that is covered already, or outside. */
function cost(box: Box, taken: readonly Box[], frame: Box): number {
  const area = (box.right - box.left) * (box.bottom - box.top);
  const outside = area - overlap(box, frame);
  return 4 * outside + taken.reduce((sum, other) => sum + overlap(box, other), 0);
}

export const overlap = (a: Box, b: Box): number =>
  Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left)) *
  Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));

/** The first with the least cost; the rest is not looked at once a cost is 0. */
function leastCovering(places: Iterable<Place>, taken: readonly Box[], frame: Box): Place {
  let best: { readonly place: Place; readonly found: number } | undefined;
  for (const place of places) {
    const found = cost(place.box, taken, frame);
    if (!best || found < best.found - 1e-9) best = { place, found };
    if (found <= 1e-9) break;
  }
  return best!.place;
}
