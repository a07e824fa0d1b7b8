/** What each technique brings, over calibration seeds; and how it depends on p. */
import type { TechniqueName, TechniqueRow, Techniques } from '../techniques.ts';
import { type Box, heading, xAxis, yAxis } from './axes.ts';
import { linear, logarithmic, type Scale } from './scale.ts';
import { line, marker, type Plot, type Point, path, text, tip } from './svg.ts';
import { nameOf, probability, signedPercent } from './words.ts';

const COLOUR: Readonly<Record<TechniqueName, number>> = { baseline: 6, clip: 4, rotate: 2, both: 0 };
const WIDTH = 760;

export function techniquesPlot({ rows, seeds, predictions }: Techniques): Plot {
  const gap = 27;
  const box: Box = { left: 178, top: 62, right: WIDTH - 84, bottom: 62 + rows.length * gap + 8 };
  const changes = rows.flatMap(({ trials }) => trials.map(({ change }) => change));
  const isLog = Math.min(...changes) > 0 && Math.max(...changes) / Math.min(...changes) > 4;
  const x = isLog
    ? logarithmic(changes, [box.left, box.right])
    : linear(changes, [box.left, box.right], { zero: true });
  const body = [
    heading(
      'What clipping and rotation bring',
      `A dot for each of ${seeds.length} draws of calibration text, a bar for their mean; ${predictions.toLocaleString('en-US')} predictions. Left is better.`,
    ),
    xAxis(box, x, {
      title: `perplexity above the float model’s, %${isLog ? ' (logarithmic)' : ''}`,
      format: change => `${Number((100 * change).toPrecision(3))}`,
    }),
    ...rows.map((row, i) => {
      const y = box.top + gap * (i + 0.5) + 4;
      const colour = COLOUR[row.name];
      return [
        text(box.left - 12, y + 4, nameOf(row), { anchor: 'end' }),
        line(x(row.min), y, x(row.max), y, { class: `s${colour} curve pale` }),
        line(x(row.mean), y - 8, x(row.mean), y + 8, { class: `s${colour}`, 'stroke-width': 3 }),
        ...row.trials.map(({ seed, change }) =>
          marker(
            0,
            [x(change), y],
            4,
            { class: `f${colour}` },
            tip(`seed ${seed}: ${signedPercent(change)}`),
          ),
        ),
        text(box.right + 8, y + 4, signedPercent(row.mean), { class: 'soft' }),
      ].join('');
    }),
  ].join('');
  return {
    id: 'techniques',
    title: 'What clipping and rotation bring',
    description: `Mean change of perplexity over calibration seeds: ${rows.map(row => `${nameOf(row)} ${signedPercent(row.mean)}`).join('; ')}.`,
    ...{ width: WIDTH, height: box.bottom + 46, body },
  };
}

interface Panel {
  readonly title: string;
  readonly rows: readonly TechniqueRow[];
  readonly without: TechniqueRow | undefined;
  readonly says: string;
}

/** The percentile sweep: clipping alone, and beside rotation, each with what it is without clipping. */
export function sweepPlot({ rows, seeds }: Techniques): Plot | undefined {
  const of = (name: TechniqueName) => rows.filter(row => row.name === name);
  const panels: readonly Panel[] = [
    { title: 'u clipped', rows: of('clip'), without: of('baseline')[0], says: 'neither' },
    { title: 'u clipped and y rotated', rows: of('both'), without: of('rotate')[0], says: 'y rotated only' },
  ];
  if (panels.some(panel => panel.rows.length < 2)) return undefined;
  const height = 360;
  const width = (WIDTH - 40) / 2;
  const best = panels.map(({ rows: all }) => all.reduce((a, b) => (b.mean < a.mean ? b : a)));
  return {
    id: 'percentiles',
    title: 'Which percentile to clip at',
    description: panels
      .map(
        ({ title, rows: all }, i) =>
          `${title}: ${all.map(row => `p = ${probability(row.p!)} ${signedPercent(row.mean)}`).join(', ')}; best at ${probability(best[i].p!)}.`,
      )
      .join(' '),
    ...{ width: WIDTH, height },
    body: [
      heading(
        'Which percentile to clip at',
        `Mean over ${seeds.length} draws of calibration text; the band is from the best to the worst of them. The panels have their own scales.`,
      ),
      ...panels.map((panel, i) => sweepPanel(panel, i * (width + 40), width, height)),
    ].join(''),
  };
}

function sweepPanel(
  { title, rows, without, says }: Panel,
  left: number,
  width: number,
  height: number,
): string {
  const box: Box = { left: left + 46, top: 92, right: left + width - 8, bottom: height - 48 };
  const [colour] = rows.map(({ name }) => COLOUR[name]);
  const reach = [...rows, ...(without ? [without] : [])].flatMap(({ min, max }) => [min, max]);
  const [least, most] = [Math.min(...reach), Math.max(...reach)];
  // room for the label of the best, below it
  const y = linear([least - (most - least) / 6, most], [box.bottom, box.top], { count: 4 });
  const step = (box.right - box.left) / rows.length;
  const xs = rows.map((_, i) => box.left + (i + 0.5) * step);
  const positions: Scale = Object.assign((i: number) => xs[i], {
    ticks: rows.map((_, i) => i),
    domain: [0, rows.length - 1] as const,
  });
  const at = (pick: (row: TechniqueRow) => number) => rows.map((row, i): Point => [xs[i], y(pick(row))]);
  const band = [...at(({ min }) => min), ...at(({ max }) => max).reverse()];
  const lowest = rows.reduce((a, b) => (b.mean < a.mean ? b : a));
  const best = rows.indexOf(lowest);
  const bestY = y(lowest.min) + 17;
  const off = (row: TechniqueRow) => Math.abs(y(row.mean) - y(without?.mean ?? 0));
  // the words stand where the curve is further away
  const isLeft = off(rows[0]) > off(rows.at(-1)!);
  return [
    text(left + 2, 58, title, { class: 'sub' }),
    xAxis(box, positions, { title: 'p', format: i => probability(rows[i].p!) }),
    yAxis(box, y, {
      title: 'perplexity above the float model’s, %',
      format: change => `${Number((100 * change).toFixed(2))}`,
    }),
    without ? line(box.left, y(without.mean), box.right, y(without.mean), { class: 'ref' }) : '',
    path(band, { class: `f${colour} band` }),
    path(
      at(({ mean }) => mean),
      { class: `s${colour} curve` },
    ),
    ...rows.map((row, i) =>
      marker(
        0,
        [xs[i], y(row.mean)],
        4.5,
        { class: `f${colour}` },
        tip(`${nameOf(row)}: ${signedPercent(row.mean)}`),
      ),
    ),
    without
      ? text(
          isLeft ? box.left + 4 : box.right - 2,
          y(without.mean) - 7,
          `${says} ${signedPercent(without.mean)}`,
          {
            anchor: isLeft ? 'start' : 'end',
            class: 'soft halo',
          },
        )
      : '',
    text(xs[best], bestY, signedPercent(lowest.mean), { anchor: 'middle', class: 'sub halo' }),
  ].join('');
}
