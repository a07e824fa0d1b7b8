/** What rotation and clipping do to outliers: by layer, and by channel. */
import type { OutlierLayer, Outliers } from '../outliers.ts';
import { type Box, heading, xAxis, yAxis } from './axes.ts';
import { logarithmic, type Scale, spread } from './scale.ts';
import { marker, type Plot, type Point, path, rect, text, tip } from './svg.ts';
import { number } from './words.ts';

const WIDTH = 760;

interface Measure {
  readonly title: string;
  readonly before: (layer: OutlierLayer) => number;
  readonly after: (layer: OutlierLayer) => number;
  readonly words: readonly [string, string];
}
const MEASURES: readonly Measure[] = [
  {
    title: 'max |y|',
    before: ({ y }) => y.before.shape.max,
    after: ({ y }) => y.after.shape.max,
    words: ['as it is', 'rotated'],
  },
  {
    title: 'kurtosis of y (normal: 3)',
    before: ({ y }) => y.before.shape.kurtosis,
    after: ({ y }) => y.after.shape.kurtosis,
    words: ['as it is', 'rotated'],
  },
  {
    title: 'crest factor of y, max / rms',
    before: ({ y }) => y.before.shape.crest,
    after: ({ y }) => y.after.shape.crest,
    words: ['as it is', 'rotated'],
  },
  {
    title: 'step of u’s grid',
    before: ({ u }) => u.before.step,
    after: ({ u }) => u.after.step,
    words: ['absmax', 'clipped'],
  },
];

/** Four panels over the layers, before and after. */
export function reductionPlot({ layers, tokens, p }: Outliers): Plot | undefined {
  if (layers.length === 0) return undefined;
  const [gapX, gapY] = [44, 96];
  const width = (WIDTH - gapX) / 2;
  const tall = 150;
  const panels = MEASURES.map((measure, i) => {
    const left = (i % 2) * (width + gapX);
    const top = 82 + Math.floor(i / 2) * (tall + gapY);
    return panel(
      measure,
      layers,
      { left: left + 46, top, right: left + width - 62, bottom: top + tall },
      left,
    );
  });
  const reduced = layers.map(({ y }) => y.before.shape.max / y.after.shape.max);
  return {
    id: 'outlier-reduction',
    title: 'What rotation does to y, and clipping to u',
    description: `Rotation makes max |y| smaller by ${number(Math.min(...reduced))} to ${number(Math.max(...reduced))} times, by layer.`,
    ...{ width: WIDTH, height: 82 + 2 * tall + gapY + 44 },
    body: [
      heading(
        'What rotation does to y, and clipping to u',
        `Each layer over ${tokens.toLocaleString('en-US')} tokens, logarithmic; u clipped at p = ${p}. Lower leaves a finer grid.`,
      ),
      ...panels,
    ].join(''),
  };
}

function panel(
  { title, before, after, words }: Measure,
  layers: readonly OutlierLayer[],
  box: Box,
  left: number,
) {
  const series = [before, after].map(pick => layers.map(pick));
  const y = logarithmic(series.flat(), [box.bottom, box.top]);
  const every = Math.ceil(layers.length / 12);
  const x: Scale = Object.assign(
    (i: number) => box.left + 6 + ((box.right - box.left - 12) * i) / Math.max(layers.length - 1, 1),
    {
      ticks: Array.from({ length: Math.ceil(layers.length / every) }, (_, i) => i * every),
      domain: [0, layers.length - 1] as const,
    },
  );
  const safe = (value: number) => (value > 0 ? y(value) : box.bottom);
  const labels = spread(
    series.map(values => safe(values.at(-1)!)),
    15,
    box.top,
    box.bottom,
  );
  return [
    text(left + 2, box.top - 12, title, { class: 'sub' }),
    xAxis(box, x, { title: 'layer', format: i => `${layers[i].layer}` }),
    yAxis(box, y, { title: '', format: value => number(value) }),
    ...series.map((values, s) => {
      const colour = s === 0 ? 1 : 0;
      const points = values.map((value, i): Point => [x(i), safe(value)]);
      return [
        path(points, { class: `s${colour} curve` }),
        ...points.map((point, i) =>
          marker(
            s,
            point,
            3.2,
            { class: `f${colour}` },
            tip(`layer ${layers[i].layer}, ${words[s]}: ${number(values[i])}`),
          ),
        ),
        text(box.right + 6, labels[s] + 4, words[s], { class: 'halo' }),
      ].join('');
    }),
  ].join('');
}

/** The largest |y| of each channel, layer by layer, before and after rotation: outlier channels are the dark corner. */
export function channelsPlot({ layers }: Outliers): Plot | undefined {
  if (layers.length === 0) return undefined;
  const tall = Math.min(24, Math.max(9, 320 / layers.length));
  const [gap, top] = [28, 84];
  const width = (WIDTH - 54 - gap) / 2;
  const strips = [
    { title: 'y as it is', side: (layer: OutlierLayer) => layer.y.before },
    { title: 'y rotated', side: (layer: OutlierLayer) => layer.y.after },
  ];
  const body = strips.map(({ title, side }, s) => {
    const left = 54 + s * (width + gap);
    const rows = layers.map((layer, i) => {
      const { channels } = side(layer);
      const typical = median(channels) || 1;
      const cell = width / channels.length;
      // neighbours of one shade are one rectangle: files stay small
      const shades = channels.map(value => shade(value / typical));
      const runs = shades.flatMap((r, k) => (k === 0 || shades[k - 1] !== r ? [k] : []));
      return runs
        .map((k, n) => {
          const end = runs[n + 1] ?? shades.length;
          return rect(left + k * cell, top + i * tall, (end - k) * cell + 0.3, tall - 1, {
            class: `r${shades[k]}`,
          });
        })
        .join('');
    });
    const bottom = top + layers.length * tall;
    return [
      text(left, top - 10, title, { class: 'sub' }),
      ...rows,
      text(left, bottom + 16, 'largest', { class: 'soft small' }),
      text(left + width, bottom + 16, 'smallest channel', { anchor: 'end', class: 'soft small' }),
      ...(s > 0
        ? []
        : layers.map(({ layer }, i) =>
            i % Math.ceil(layers.length / 16) === 0
              ? text(left - 8, top + (i + 0.5) * tall + 3.5, i === 0 ? `layer ${layer}` : `${layer}`, {
                  anchor: 'end',
                  class: 'soft small',
                })
              : '',
          )),
    ].join('');
  });
  const legendTop = top + layers.length * tall + 38;
  const legend = SHADES.map((_, i) => {
    const x = 54 + i * 84;
    return (
      rect(x, legendTop, 18, 12, { class: `r${i}` }) +
      text(x + 24, legendTop + 10, shadeWords(i), { class: 'soft small' })
    );
  });
  const worst = layers.map(({ y }) => y.before.channels[0] / (median(y.before.channels) || 1));
  return {
    id: 'outlier-channels',
    title: 'Outlier channels of y',
    description: `The largest channel is up to ${number(Math.max(...worst))} times the median channel before rotation.`,
    ...{ width: WIDTH, height: legendTop + 24 },
    body: [
      heading(
        'Outlier channels of y',
        'Largest |y| of each channel over the median channel’s, a row for each layer, channels by size.',
      ),
      ...body,
      ...legend,
    ].join(''),
  };
}

/** Above how many times the median a channel has the next shade. */
const SHADES = [0, 1.25, 2, 4, 8, 16, 32];
const shade = (times: number): number => SHADES.filter(from => times >= from).length - 1;
const shadeWords = (i: number): string =>
  i === 0
    ? `< ${SHADES[1]} ×`
    : i === SHADES.length - 1
      ? `≥ ${SHADES[i]} ×`
      : `${SHADES[i]}–${SHADES[i + 1]} ×`;

const median = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length / 2)] ?? 0;
