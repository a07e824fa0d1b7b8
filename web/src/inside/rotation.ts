/** What out_proj reads, of every token and channel, before and after the Hadamard rotation. */
import { MODEL } from '../chosen-model.ts';
import { byId } from '../dom.ts';
import { heatmap } from '../heatmap.ts';
import type { RemoteLab } from '../lab/open.ts';
import type { RotationView } from '../lab/protocol.ts';
import { channelMost } from '../measures.ts';
import { number } from '../numbers.ts';
import { colour, draw, Plot } from '../plots.ts';
import { newTable } from '../table.ts';
import { sitesOf } from './words.ts';

const MOST_HEIGHT = 320;
const { symbol } = sitesOf(MODEL.modelType).scanOut!;

export async function showRotation(lab: RemoteLab, layer: number): Promise<void> {
  const view = await lab.rotation(layer);
  const { before, after } = view;
  drawMap('rotation-before', view, before, {
    what: `${symbol} in layer ${layer}`,
    caption:
      'Before. A few values have all the colour; the rest, in steps of the same scale, is close to nothing.',
  });
  drawMap('rotation-after', view, after, {
    what: `${symbol} in layer ${layer}, rotated`,
    caption: 'After. No channel stands out, and the values fill their range.',
  });
  drawChannels(view, layer);
  byId('rotation-numbers').replaceChildren(
    newTable(`${symbol} in layer ${layer}`, [
      [symbol, `largest |${symbol}|`, 'root mean square', 'kurtosis (normal: 3)'],
      ['before', number(before.shape.max), number(before.shape.rms), number(before.shape.kurtosis)],
      ['after', number(after.shape.max), number(after.shape.rms), number(after.shape.kurtosis)],
    ]),
  );
}

function drawMap(
  id: string,
  { tokens, channels }: RotationView,
  { values, shape }: RotationView['before'],
  { what, caption }: { readonly what: string; readonly caption: string },
): void {
  const rowHeight = Math.max(4, Math.min(12, Math.floor(MOST_HEIGHT / tokens)));
  heatmap(
    byId(id),
    {
      rowHeight,
      values,
      rows: tokens,
      columns: channels,
      most: shape.max,
    },
    {
      alt: `${what}, ${tokens} tokens by ${channels} channels: the largest is ${number(shape.max)}, the kurtosis ${number(shape.kurtosis)}`,
      caption,
      x: `channel, 0 … ${channels - 1}`,
      y: `${what}: a row for each token`,
    },
  );
}

function drawChannels({ channels, before, after }: RotationView, layer: number): void {
  const series = (
    [
      ['before', 'series-2', before],
      ['after', 'series-3', after],
    ] as const
  ).map(([name, stroke, { values }]) => ({ name, stroke, most: channelMost(values, channels) }));
  draw(
    byId('rotation-channels'),
    {
      alt: `The largest |${symbol}| of each channel in layer ${layer}: before, up to ${number(before.shape.max)} in few channels; after, up to ${number(after.shape.max)}, alike in all`,
      caption: `The largest |${symbol}| of each channel. The int8 range must hold the largest of them all.`,
    },
    () => ({
      height: 220,
      marginLeft: 56,
      marginBottom: 40,
      x: { label: 'channel', domain: [0, channels - 1] },
      y: {
        label: `largest |${symbol}|`,
        grid: true,
        domain: [0, Math.max(before.shape.max, after.shape.max) * 1.05],
      },
      marks: series.flatMap(({ name, stroke, most }, i) => [
        Plot.lineY(most, { x: (_, i) => i, y: most, stroke: colour(stroke), strokeWidth: 1 }),
        Plot.text([name], {
          frameAnchor: 'top-right',
          dy: 16 * i,
          fill: colour(stroke),
          fontWeight: 600,
        }),
      ]),
    }),
  );
}
