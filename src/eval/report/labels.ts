/** Labels beside points, where they cover neither each other nor a point nor the frame. */

import type { Box } from './axes.ts';
import { type Anchor, line, type Point, text, textWidth } from './svg.ts';

export interface Labelled {
  readonly at: Point;
  readonly label: string;
  readonly class?: string;
}

const HEIGHT = 14;

/**
 * Places labels one after the other, each where it covers least: first those that have a free place right of, left of, above or below
 * their point, then the others, in rings further off with a line to the point. `obstacles` are what else must stay visible.
 */
export function placeLabels(points: readonly Labelled[], frame: Box, obstacles: readonly Box[] = []): string {
  const taken = [...obstacles, ...points.map(({ at }) => around(at, 6))];
  const write = ({ at, label, class: name }: Labelled, most: number): string | undefined => {
    const all = places(at, textWidth(label, name === 'sub'));
    const costs = all.map(place => cost(place, at, taken, frame));
    const least = Math.min(...costs);
    if (least > most) return undefined;
    const { box, x, y, anchor, away } = all[costs.indexOf(least)];
    taken.push(box, ...(away ? along(box, at) : []));
    const [toX, toY] = nearest(box, at);
    const lead = away ? line(...at, toX, toY + (toY > at[1] ? -1 : 1), { class: 'lead' }) : '';
    return lead + text(x, y, label, { anchor, class: `halo ${name ?? ''}`.trim() });
  };
  const beside = points.map(point => write(point, 1e-9));
  return beside.map((written, i) => written ?? write(points[i], Number.POSITIVE_INFINITY)).join('');
}

type Place = ReturnType<typeof places>[number];
function places([x, y]: Point, width: number) {
  /** `away`: from the point, in pixels; 0 beside it. */
  const place = (x: number, y: number, anchor: Anchor, away = 0) => {
    const left = anchor === 'start' ? x : anchor === 'end' ? x - width : x - width / 2;
    const box = { left: left - 2, right: left + width + 2, top: y - HEIGHT / 2, bottom: y + HEIGHT / 2 };
    return { box, x, y: y + 4, anchor, away };
  };
  return [
    place(x + 10, y, 'start'),
    place(x - 10, y, 'end'),
    place(x, y - 15, 'middle'),
    place(x, y + 15, 'middle'),
    ...[22, 36, 52, 70, 90, 112].flatMap(away =>
      DIRECTIONS.map(([dx, dy, anchor]) => place(x + dx * away, y + dy * away, anchor, away)),
    ),
  ];
}
/* biome-ignore format: a table */
const DIRECTIONS: readonly (readonly [number, number, Anchor])[] = [
  [ 0.8,  -0.6,  'start'], [ 0.8,  0.6,  'start'],
  [-0.8,  -0.6,  'end'],   [-0.8,  0.6,  'end'],
  [ 0.96, -0.28, 'start'], [ 0.96, 0.28, 'start'],
  [-0.96, -0.28, 'end'],   [-0.96, 0.28, 'end'],
];

/** The area that is covered already, or outside; then where a line to its point crosses something; then how far it is away. */
function cost({ box, away }: Place, at: Point, taken: readonly Box[], frame: Box): number {
  const outside = (box.right - box.left) * (box.bottom - box.top) - overlap(box, frame);
  const covered = taken.reduce((sum, other) => sum + overlap(box, other), 0);
  const spots = away ? along(box, at) : [];
  const crossed = spots.filter(spot => taken.some(other => overlap(spot, other) > 0)).length;
  return 4 * outside + covered + 3 * crossed + away / 20;
}

const nearest = ({ left, right, top, bottom }: Box, [x, y]: Point): Point => [
  Math.min(Math.max(x, left), right),
  Math.min(Math.max(y, top), bottom),
];

/** Spots on the line from a point to the box of its label, in the half at the label: at the point there are others. */
const along = (box: Box, [x, y]: Point): readonly Box[] => {
  const [toX, toY] = nearest(box, [x, y]);
  return [0.5, 0.65, 0.8, 0.95].map(part => around([x + part * (toX - x), y + part * (toY - y)], 2));
};

const around = ([x, y]: Point, by: number): Box => {
  return { left: x - by, right: x + by, top: y - by, bottom: y + by };
};

export const overlap = (a: Box, b: Box): number =>
  Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left)) *
  Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
