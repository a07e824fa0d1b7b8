/** The values of u and y in the layer with the wildest y: as they are, and as they are quantized. */
import type { Histogram } from '../moments.ts';
import type { Outliers, Side } from '../outliers.ts';
import { type Box, fourPanels, xAxis, yAxis } from './axes.ts';
import { linear, type Scale, withTicks } from './scale.ts';
import { line, type Plot, type Point, path, text } from './svg.ts';
import { number } from './words.ts';

export function histogramsPlot({ layers }: Outliers): Plot {
  const wildest = layers.reduce((a, b) => (b.y.before.shape.crest > a.y.before.shape.crest ? b : a));
  const { layer, u, y } = wildest;
  const { height, panel } = fourPanels(92);
  const draw = (i: number, title: string, side: Side, { shape }: Side, end: number): string => {
    const box = panel(i, 40, 16);
    return [
      text(box.left - 38, box.top - 14, title, { class: 'sub' }),
      text(box.right, box.top - 14, `step ${number(side.step)}`, { anchor: 'end', class: 'soft' }),
      histogram(side.histogram, shape.max, end, box, i % 2 === 0 ? 1 : 0),
    ].join('');
  };
  return {
    id: 'histograms',
    title: `Values of u and y in layer ${layer}`,
    subtitle:
      'Logarithmic counts, one axis for before and after. The dashed lines are the ends of the int8 grid.',
    description:
      `Histograms with logarithmic counts. A step of the grid is ${number(u.before.step)} for u and ${number(u.after.step)} for u clipped, ` +
      `${number(y.before.step)} for y and ${number(y.after.step)} for y rotated.`,
    height,
    body: [
      draw(0, 'u as it is', u.before, u.before, u.before.shape.max),
      draw(1, 'u clipped', u.after, u.before, u.range),
      draw(2, 'y as it is', y.before, y.before, y.before.shape.max),
      draw(3, 'y rotated', y.after, y.before, y.after.shape.max),
    ],
  };
}

function histogram(values: Histogram, reach: number, end: number, box: Box, colour: number): string {
  const x = linear([-reach, reach], [box.left, box.right], { count: 4 });
  const decades = Math.max(1, Math.ceil(Math.log10(Math.max(1, ...values.counts))));
  const tall = box.bottom - box.top - 5;
  const powers = Array.from({ length: decades + 1 }, (_, k) => 10 ** k);
  const y = withTicks(
    count => (count > 0 ? box.bottom - 5 - (tall * Math.log10(count)) / decades : box.bottom),
    powers.filter((_, k) => k % Math.ceil(decades / 4) === 0),
  );
  return [
    xAxis(box, x, '', value => `${value}`.replace('-', '−')),
    yAxis(box, y, '', power),
    path(outline(values, x, y, box), { class: `f${colour}` }),
    ...[-end, end].map(at => line(x(at), box.top, x(at), box.bottom, { class: 'ref' })),
  ].join('');
}

/** The stairs of the bins within the axis, but for the empty ones at its ends. */
function outline({ to, counts }: Histogram, x: Scale, y: Scale, box: Box): Point[] {
  const edge = (i: number) => Math.min(Math.max(x(-to + (2 * to * i) / counts.length), box.left), box.right);
  const first = counts.findIndex(count => count > 0);
  const end = counts.findLastIndex(count => count > 0) + 1;
  const steps = counts
    .slice(first, end)
    .flatMap((count, k) => [first + k, first + k + 1].map((i): Point => [edge(i), y(count)]));
  return [[edge(first), box.bottom], ...steps, [edge(end), box.bottom]];
}

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹';
const power = (count: number): string => {
  const k = Math.round(Math.log10(count));
  return k === 0 ? '1' : `10${[...`${k}`].map(digit => SUPERSCRIPTS[Number(digit)]).join('')}`;
};
