/** What each technique brings, over calibration seeds; and how it depends on p. */
import type { TechniqueName, TechniqueRow, Techniques } from '../techniques.ts';
import { type Box, xAxis, yAxis } from './axes.ts';
import { linear, logarithmic, places } from './scale.ts';
import { curve, line, marker, type Plot, type Point, path, text, WIDTH } from './svg.ts';
import { nameOf, probability, signedPercent } from './words.ts';

const COLOUR: Readonly<Record<TechniqueName, number>> = { baseline: 6, clip: 4, rotate: 2, both: 0 };

export function techniquesPlot({ rows, seeds, predictions }: Techniques): Plot {
  const gap = 27;
  const box: Box = { left: 178, top: 62, right: WIDTH - 84, bottom: 62 + rows.length * gap + 8 };
  const changes = rows.flatMap(({ trials }) => trials.map(({ change }) => change));
  const isLog = Math.min(...changes) > 0 && Math.max(...changes) / Math.min(...changes) > 4;
  const x = isLog
    ? logarithmic(changes, [box.left, box.right])
    : linear(changes, [box.left, box.right], { zero: true });
  const unit = `perplexity above the float model’s, %${isLog ? ' (logarithmic)' : ''}`;
  return {
    id: 'techniques',
    title: 'What clipping and rotation bring',
    subtitle: `A dot for each of ${seeds.length} draws of calibration text, a bar for their mean; ${predictions.toLocaleString('en-US')} predictions. Left is better.`,
    description: `Mean change of perplexity over calibration seeds: ${rows.map(row => `${nameOf(row)} ${signedPercent(row.mean)}`).join('; ')}.`,
    height: box.bottom + 46,
    body: [
      xAxis(box, x, unit, change => `${Number((100 * change).toPrecision(3))}`),
      ...rows.flatMap((row, i) => {
        const y = box.top + gap * (i + 0.5) + 4;
        const colour = COLOUR[row.name];
        return [
          text(box.left - 12, y + 4, nameOf(row), { anchor: 'end' }),
          line(x(row.min), y, x(row.max), y, { class: `s${colour} curve pale` }),
          line(x(row.mean), y - 8, x(row.mean), y + 8, { class: `s${colour}`, 'stroke-width': 3 }),
          ...row.trials.map(({ seed, change }) =>
            marker(0, [x(change), y], 4, colour, `seed ${seed}: ${signedPercent(change)}`),
          ),
          text(box.right + 8, y + 4, signedPercent(row.mean), { class: 'soft' }),
        ];
      }),
    ],
  };
}

type Panel = ReturnType<typeof panelsOf>[number];
function panelsOf(rows: readonly TechniqueRow[]) {
  const of = (name: TechniqueName) => rows.filter(row => row.name === name);
  return [
    { title: 'u clipped', rows: of('clip'), without: of('baseline')[0], says: 'neither' },
    { title: 'u clipped and y rotated', rows: of('both'), without: of('rotate')[0], says: 'y rotated only' },
  ];
}

/** The percentile sweep: clipping alone, and beside rotation, each with what it is without clipping. */
export function sweepPlot({ rows, seeds }: Techniques): Plot | undefined {
  const panels = panelsOf(rows);
  if (panels.some(panel => panel.rows.length < 2 || !panel.without)) return undefined;
  const words = panels.map(({ title, rows: all }) => {
    const each = all.map(row => `p = ${probability(row.p!)} ${signedPercent(row.mean)}`);
    return `${title}: ${each.join(', ')}; best at ${probability(best(all).p!)}.`;
  });
  return {
    id: 'percentiles',
    title: 'Which percentile to clip at',
    subtitle: `Mean over ${seeds.length} draws of calibration text; the band is from the best to the worst of them. The panels have their own scales.`,
    description: words.join(' '),
    height: 360,
    body: panels.map((panel, i) => sweepPanel(panel, i * (WIDTH / 2 + 20))),
  };
}

const best = (rows: readonly TechniqueRow[]): TechniqueRow =>
  rows.reduce((a, b) => (b.mean < a.mean ? b : a));

function sweepPanel({ title, rows, without, says }: Panel, left: number): string {
  const box: Box = { left: left + 46, top: 92, right: left + WIDTH / 2 - 28, bottom: 312 };
  const colour = COLOUR[rows[0].name];
  const reach = [...rows, without].flatMap(({ min, max }) => [min, max]);
  const [least, most] = [Math.min(...reach), Math.max(...reach)];
  // room for the label of the best, below it
  const y = linear([least - (most - least) / 6, most], [box.bottom, box.top], { count: 4 });
  const half = (box.right - box.left) / rows.length / 2;
  const x = places(rows.length, [box.left + half, box.right - half]);
  const at = (pick: (row: TechniqueRow) => number) => rows.map((row, i): Point => [x(i), y(pick(row))]);
  const band = [...at(({ min }) => min), ...at(({ max }) => max).reverse()];
  const lowest = best(rows);
  // the words on the dashed line stand where the curve is further away
  const [first, last] = [rows[0], rows.at(-1)!].map(row => Math.abs(row.mean - without.mean));
  const [wordsX, anchor] = first > last ? [box.left + 4, 'start' as const] : [box.right - 2, 'end' as const];
  const words = `${says} ${signedPercent(without.mean)}`;
  return [
    text(left + 2, 58, title, { class: 'sub' }),
    xAxis(box, x, 'p', i => probability(rows[i].p!)),
    yAxis(box, y, 'perplexity above the float model’s, %', v => `${Number((100 * v).toFixed(2))}`),
    line(box.left, y(without.mean), box.right, y(without.mean), { class: 'ref' }),
    path(band, { class: `f${colour} band` }),
    curve(
      at(({ mean }) => mean),
      { colour, size: 4.5 },
      i => `${nameOf(rows[i])}: ${signedPercent(rows[i].mean)}`,
    ),
    text(wordsX, y(without.mean) - 7, words, { anchor, class: 'soft halo' }),
    text(x(rows.indexOf(lowest)), y(lowest.min) + 17, signedPercent(lowest.mean), BEST),
  ].join('');
}

const BEST = { anchor: 'middle', class: 'sub halo' } as const;
