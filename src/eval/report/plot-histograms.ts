/** The values of u and y in the layer with the wildest y: as they are, and as they are quantized. */
import type { Histogram } from '../moments.ts';
import type { OutlierLayer, Outliers, Side } from '../outliers.ts';
import { type Box, heading, xAxis, yAxis } from './axes.ts';
import { linear, type Scale } from './scale.ts';
import { line, type Plot, type Point, path, text } from './svg.ts';
import { number } from './words.ts';

const WIDTH = 760;

export function histogramsPlot({ layers }: Outliers): Plot | undefined {
  if (layers.length === 0) return undefined;
  const wildest = layers.reduce((a, b) => (b.y.before.shape.crest > a.y.before.shape.crest ? b : a));
  const { layer, u, y } = wildest;
  const panels: readonly (readonly [string, Side, number, Side, number])[] = [
    ['u as it is', u.before, 1, u.before, u.before.shape.max],
    ['u clipped', u.after, 0, u.before, u.range],
    ['y as it is', y.before, 1, y.before, y.before.shape.max],
    ['y rotated', y.after, 0, y.before, y.after.shape.max],
  ];
  const [gapX, gapY, tall] = [44, 92, 150];
  const width = (WIDTH - gapX) / 2;
  return {
    id: 'histograms',
    title: `Values of u and y in layer ${layer}`,
    description: `Histograms with logarithmic counts. ${words(wildest)}`,
    ...{ width: WIDTH, height: 82 + 2 * tall + gapY + 44 },
    body: [
      heading(
        `Values of u and y in layer ${layer}`,
        'Logarithmic counts, one axis for before and after. The dashed lines are the ends of the int8 grid.',
      ),
      ...panels.map(([title, side, colour, reach, end], i) => {
        const left = (i % 2) * (width + gapX);
        const top = 82 + Math.floor(i / 2) * (tall + gapY);
        const box = { left: left + 40, top, right: left + width - 16, bottom: top + tall };
        return panel(title, side, colour, reach.shape.max, end, box, left);
      }),
    ].join(''),
  };
}

const words = ({ u, y }: OutlierLayer): string =>
  `A step of the grid is ${number(u.before.step)} for u and ${number(u.after.step)} for u clipped, ` +
  `${number(y.before.step)} for y and ${number(y.after.step)} for y rotated.`;

function panel(
  title: string,
  { histogram, step }: Side,
  colour: number,
  reach: number,
  end: number,
  box: Box,
  left: number,
): string {
  const x = linear([-reach, reach], [box.left, box.right], { count: 4 });
  const decades = Math.max(1, Math.ceil(Math.log10(Math.max(1, ...histogram.counts))));
  const height = (count: number) =>
    count > 0 ? box.bottom - 5 - ((box.bottom - box.top - 5) * Math.log10(count)) / decades : box.bottom;
  const ticks = Array.from({ length: decades + 1 }, (_, k) => 10 ** k).filter(
    (_, k) => k % Math.ceil(decades / 4) === 0,
  );
  const y: Scale = Object.assign(height, { ticks, domain: [1, 10 ** decades] as const });
  return [
    text(left + 2, box.top - 14, title, { class: 'sub' }),
    text(box.right, box.top - 14, `step ${number(step)}`, { anchor: 'end', class: 'soft' }),
    xAxis(box, x, { title: '', format: value => `${value}`.replace('-', '−') }),
    yAxis(box, y, { title: '', format: count => power(count) }),
    path(outline(histogram, x, height, box), { class: `f${colour}` }),
    ...[-end, end].map(at => line(x(at), box.top, x(at), box.bottom, { class: 'ref' })),
  ].join('');
}

/** The stairs of the bins within the axis. */
function outline({ to, counts }: Histogram, x: Scale, height: (count: number) => number, box: Box): Point[] {
  const edge = (i: number) => Math.min(Math.max(x(-to + (2 * to * i) / counts.length), box.left), box.right);
  const used = counts.flatMap((count, i) => (count > 0 ? i : []));
  const [first, last] = [used[0] ?? 0, used.at(-1) ?? 0];
  const stairs: Point[] = [[edge(first), box.bottom]];
  for (let i = first; i <= last; i++)
    stairs.push([edge(i), height(counts[i])], [edge(i + 1), height(counts[i])]);
  stairs.push([edge(last + 1), box.bottom]);
  return stairs;
}

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹';
const power = (count: number): string => {
  const k = Math.round(Math.log10(count));
  return k === 0 ? '1' : `10${[...`${k}`].map(digit => SUPERSCRIPTS[Number(digit)]).join('')}`;
};
