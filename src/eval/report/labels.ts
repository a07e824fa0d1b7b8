/** Labels beside points, where they cover neither each other nor a point nor the frame. */

import type { Box } from './axes.ts';
import { type Anchor, line, type Point, text, textWidth } from './svg.ts';

export interface Labelled {
  readonly at: Point;
  readonly label: string;
  readonly class?: string;
}

const HEIGHT = 14;

interface Candidate {
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
export function placeLabels(
  points: readonly Labelled[],
  frame: Box,
  { obstacles = [], size = 12 }: { readonly obstacles?: readonly Box[]; readonly size?: number } = {},
): string {
  const taken: Box[] = [...obstacles];
  for (const {
    at: [x, y],
  } of points)
    taken.push({ left: x - 6, right: x + 6, top: y - 6, bottom: y + 6 });
  return points
    .map(({ at, label, class: name }) => {
      const best = lowest(candidates(at, textWidth(label, size)), candidate =>
        cost(candidate.box, taken, frame),
      );
      taken.push(best.box);
      const [x, y] = at;
      const nearest = Math.min(Math.max(x, best.box.left), best.box.right);
      const lead = best.far
        ? line(x, y, nearest, (best.box.top + best.box.bottom) / 2 + (best.box.top > y ? -6 : 6), {
            class: 'lead',
          })
        : '';
      return lead + text(best.x, best.y, label, { anchor: best.anchor, class: `halo ${name ?? ''}`.trim() });
    })
    .join('');
}

function* candidates([x, y]: Point, width: number): Generator<Candidate> {
  const place = (cx: number, cy: number, anchor: Anchor, far: boolean): Candidate => {
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
function lowest<T>(all: Iterable<T>, costOf: (one: T) => number): T {
  let best: { readonly one: T; readonly cost: number } | undefined;
  for (const one of all) {
    const found = costOf(one);
    if (!best || found < best.cost - 1e-9) best = { one, cost: found };
    if (found <= 1e-9) break;
  }
  return best!.one;
}
