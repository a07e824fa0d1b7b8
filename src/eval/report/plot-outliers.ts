/** What rotation and clipping do to outliers: by layer, and by channel. */
import type { OutlierLayer, Outliers, Side } from '../outliers.ts';
import { type Box, fourPanels, xAxis, yAxis } from './axes.ts';
import { logarithmic, places, spread } from './scale.ts';
import { curve, type Plot, type Point, rect, text, WIDTH } from './svg.ts';
import { number } from './words.ts';

const ROTATED = { of: 'y', words: ['as it is', 'rotated'] } as const;
const MEASURES = [
  { title: 'max |y|', ...ROTATED, value: ({ shape }: Side) => shape.max },
  { title: 'kurtosis of y (normal: 3)', ...ROTATED, value: ({ shape }: Side) => shape.kurtosis },
  { title: 'crest factor of y, max / rms', ...ROTATED, value: ({ shape }: Side) => shape.crest },
  { title: 'step of u’s grid', of: 'u', words: ['absmax', 'clipped'], value: ({ step }: Side) => step },
] as const;
type Measure = (typeof MEASURES)[number];

/** Four panels over the layers, before and after. */
export function reductionPlot({ layers, tokens, p }: Outliers): Plot {
  const { height, panel } = fourPanels(96);
  const reduced = layers.map(({ y }) => y.before.shape.max / y.after.shape.max);
  return {
    id: 'outlier-reduction',
    title: 'What rotation does to y, and clipping to u',
    subtitle: `Each layer over ${tokens.toLocaleString('en-US')} tokens, logarithmic; u clipped at p = ${p}. Lower leaves a finer grid.`,
    description: `Rotation makes max |y| smaller by ${number(Math.min(...reduced))} to ${number(Math.max(...reduced))} times, by layer.`,
    height,
    body: MEASURES.map((measure, i) => reduction(measure, layers, panel(i, 46, 62))),
  };
}

function reduction({ title, of, value, words }: Measure, layers: readonly OutlierLayer[], box: Box): string {
  const series = (['before', 'after'] as const).map(when => layers.map(layer => value(layer[of][when])));
  const y = logarithmic(series.flat(), [box.bottom, box.top]);
  const x = places(layers.length, [box.left + 6, box.right - 6], 12);
  const safe = (value: number) => (value > 0 ? y(value) : box.bottom);
  const ends = series.map(values => safe(values.at(-1)!));
  const labels = spread(ends, 15, box.top, box.bottom);
  return [
    text(box.left - 44, box.top - 12, title, { class: 'sub' }),
    xAxis(box, x, 'layer', i => `${layers[i].layer}`),
    yAxis(box, y, '', number),
    ...series.flatMap((values, s) => [
      curve(
        values.map((value, i): Point => [x(i), safe(value)]),
        { colour: 1 - s, kind: s },
        i => `layer ${layers[i].layer}, ${words[s]}: ${number(values[i])}`,
      ),
      text(box.right + 6, labels[s] + 4, words[s], { class: 'halo' }),
    ]),
  ].join('');
}

/** The largest |y| of each channel, layer by layer, before and after rotation: outlier channels are the dark corner. */
export function channelsPlot({ layers }: Outliers): Plot {
  const tall = Math.min(24, Math.max(9, 320 / layers.length));
  const [first, gap, top] = [54, 28, 84];
  const width = (WIDTH - first - gap) / 2;
  const bottom = top + layers.length * tall;
  const every = Math.ceil(layers.length / 16);
  const worst = layers.map(({ y }) => y.before.channels[0] / (median(y.before.channels) || 1));
  const small = { class: 'soft small' };
  const strip = (title: string, when: 'before' | 'after', left: number): string =>
    [
      text(left, top - 10, title, { class: 'sub' }),
      ...layers.map(({ y }, i) => row(y[when].channels, left, top + i * tall, width, tall - 1)),
      text(left, bottom + 16, 'largest', small),
      text(left + width, bottom + 16, 'smallest channel', { anchor: 'end', ...small }),
    ].join('');
  return {
    id: 'outlier-channels',
    title: 'Outlier channels of y',
    subtitle:
      'Largest |y| of each channel over the median channel’s, a row for each layer, channels by size.',
    description: `The largest channel is up to ${number(Math.max(...worst))} times the median channel before rotation.`,
    height: bottom + 62,
    body: [
      strip('y as it is', 'before', first),
      ...layers.map(({ layer }, i) => {
        const says = i % every ? '' : i === 0 ? `layer ${layer}` : `${layer}`;
        return says && text(first - 8, top + (i + 0.5) * tall + 3.5, says, { anchor: 'end', ...small });
      }),
      strip('y rotated', 'after', first + width + gap),
      ...SHADES.map(
        (_, i) =>
          rect(first + i * 84, bottom + 38, 18, 12, { class: `r${i}` }) +
          text(first + i * 84 + 24, bottom + 48, shadeWords(i), small),
      ),
    ],
  };
}

/** The channels of one layer, each a cell in its shade. */
function row(channels: readonly number[], left: number, top: number, width: number, height: number): string {
  const typical = median(channels) || 1;
  const cell = width / channels.length;
  const shades = channels.map(value => shade(value / typical));
  // neighbours of one shade are one rectangle: files stay small
  const runs = shades.flatMap((r, k) => (k === 0 || shades[k - 1] !== r ? [k] : []));
  return runs
    .map((k, n) => {
      const end = runs[n + 1] ?? shades.length;
      return rect(left + k * cell, top, (end - k) * cell + 0.3, height, { class: `r${shades[k]}` });
    })
    .join('');
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
