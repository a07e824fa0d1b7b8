/** Accuracy against what it costs: which recipes no other one beats in both. */
import { type Box, xAxis, yAxis } from './axes.ts';
import { placeLabels } from './labels.ts';
import { changeFrom, floatRow, type ResultRow } from './results.ts';
import { linear, logarithmic, withTicks } from './scale.ts';
import { line, marker, type Plot, type Point, path, text, WIDTH } from './svg.ts';
import { number, signedPercent, sizeWords } from './words.ts';

export interface ParetoPoint {
  readonly name: string;
  /** Lower is better. */
  readonly cost: number;
  /** Perplexity / the float model's − 1; lower is better. */
  readonly loss: number;
}

const COSTS = [
  {
    id: 'pareto-bytes',
    title: 'Accuracy against size',
    unit: 'weights, MB',
    costOf: ({ bytes }: ResultRow) => (bytes === undefined ? undefined : bytes / 1e6),
    format: (cost: number) => sizeWords(cost * 1e6),
  },
  {
    id: 'pareto-latency',
    title: 'Accuracy against latency',
    unit: 'decoding, ms for each token',
    costOf: ({ decode }: ResultRow) => (decode ? 1000 / decode : undefined),
    format: (cost: number) => `${number(cost)} ms`,
  },
];

type Axis = (typeof COSTS)[number];

/** The points that no other one beats or equals in both and beats in one, by rising cost. */
export function paretoFront(points: readonly ParetoPoint[]): readonly ParetoPoint[] {
  const beats = (a: ParetoPoint, b: ParetoPoint) =>
    a.cost <= b.cost && a.loss <= b.loss && (a.cost < b.cost || a.loss < b.loss);
  return points
    .filter(point => !points.some(other => beats(other, point)))
    .sort((a, b) => a.cost - b.cost || a.loss - b.loss);
}

export function paretoPlots(rows: readonly ResultRow[]): readonly Plot[] {
  const float = floatRow(rows);
  return COSTS.flatMap(axis => {
    const points = rows.flatMap((row): readonly ParetoPoint[] => {
      const [cost, loss] = [axis.costOf(row), changeFrom(float, row)];
      return cost === undefined || loss === undefined ? [] : [{ name: row.recipe, cost, loss }];
    });
    return points.length > 1 ? [plot(points, axis, float!.recipe)] : [];
  });
}

const HEIGHT = 440;

function plot(points: readonly ParetoPoint[], { id, title, unit, format }: Axis, against: string): Plot {
  const box: Box = { left: 62, top: 74, right: WIDTH - 24, bottom: HEIGHT - 48 };
  const costs = points.map(({ cost }) => cost);
  const x =
    Math.max(...costs) / Math.min(...costs) > 6
      ? logarithmic(costs, [box.left, box.right])
      : linear(costs, [box.left, box.right], { zero: true });
  const { y, band, covered } = losses(points, box);
  const front = paretoFront(points);
  const at = ({ cost, loss }: ParetoPoint): Point => [x(cost), y(loss)];
  const best = front.map(at);
  const stairs = best.flatMap((point, i) =>
    i === 0 ? [point] : [[point[0], best[i - 1][1]] as const, point],
  );
  const isBest = (point: ParetoPoint) => front.includes(point);
  // the front is labelled first: it has the first choice of places
  const ordered = [...front, ...points.filter(point => !isBest(point))];
  const labels = ordered.map(point => {
    return { at: at(point), label: point.name, class: isBest(point) ? 'sub' : 'soft' };
  });
  const says = (point: ParetoPoint) => `${format(point.cost)}, ${signedPercent(point.loss)}`;
  return {
    id,
    title,
    subtitle: 'Down and left is better. The line joins the recipes that no other one beats in both.',
    description: `Not beaten in both: ${front.map(point => `${point.name} (${says(point)})`).join('; ')}.`,
    height: HEIGHT,
    body: [
      xAxis(box, x, unit, number),
      yAxis(box, y, `perplexity above ${against}’s, %`, loss => number(100 * loss)),
      band,
      path(stairs, { class: 's0 curve' }),
      ...ordered.map(point => {
        const [kind, size, colour] = isBest(point) ? [0, 5.5, 0] : [3, 4.5, 6];
        return marker(kind, at(point), size, colour, `${point.name}: ${says(point)}`);
      }),
      placeLabels(labels, { ...box, right: WIDTH }, [...along(stairs), ...covered]),
    ],
  };
}

/** A logarithmic axis of what is lost, and below it a band for what loses nothing; `covered`: where the band's own words are. */
function losses(points: readonly ParetoPoint[], box: Box) {
  const all = points.map(({ loss }) => loss);
  const positive = all.filter(loss => loss > 0);
  const ends = [box.bottom, box.top] as const;
  const isNarrow = positive.length === 0 || Math.max(...positive) / Math.min(...positive) < 4;
  if (isNarrow || positive.length === all.length) {
    const y = isNarrow ? linear(all, ends, { zero: true }) : logarithmic(positive, ends);
    return { y, band: '', covered: [] };
  }
  const edge = box.bottom - 44;
  const log = logarithmic(positive, [edge, box.top]);
  const y = withTicks(loss => (loss > 0 ? log(loss) : box.bottom - 18), [0, ...log.ticks]);
  const band =
    line(box.left, edge, box.right, edge, { class: 'lead', 'stroke-dasharray': '1 3' }) +
    text(box.left + 6, edge + 14, 'nothing lost', { class: 'soft small' });
  return { y, band, covered: [{ left: box.left, right: box.left + 80, top: edge, bottom: edge + 18 }] };
}

/** Boxes around the pieces of a line. */
const along = (points: readonly Point[]): readonly Box[] =>
  points.slice(1).map(([x, y], i) => {
    const [px, py] = points[i];
    const [left, top] = [Math.min(x, px) - 3, Math.min(y, py) - 3];
    return { left, top, right: Math.max(x, px) + 3, bottom: Math.max(y, py) + 3 };
  });
