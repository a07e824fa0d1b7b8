/** y of every token and channel, before and after the Hadamard rotation. */
import type { RemoteLab } from '../lab/open.ts';
import type { RotationView } from '../lab/protocol.ts';
import { colour, draw, Plot } from '../plots.ts';
import { byId, nextFrame, short, table } from './dom.ts';
import { heatmap } from './heatmap.ts';

const MOST_HEIGHT = 320;

export async function showRotation(lab: RemoteLab, layer: number): Promise<void> {
  const view = await lab.rotation(layer);
  const { before, after } = view;
  drawMap('rotation-before', view, before, {
    what: `y in layer ${layer}`,
    caption:
      'Before. A few values have all the colour; the rest, in steps of the same scale, is close to nothing.',
  });
  await nextFrame();
  drawMap('rotation-after', view, after, {
    what: `y in layer ${layer}, rotated`,
    caption: 'After. No channel stands out, and the values fill their range.',
  });
  await nextFrame();
  drawChannels(view, layer);
  byId('rotation-numbers').replaceChildren(
    table(
      `y in layer ${layer}`,
      ['y', 'largest |y|', 'root mean square', 'kurtosis (normal: 3)'],
      [
        ['before', short(before.shape.max), short(before.shape.rms), short(before.shape.kurtosis)],
        ['after', short(after.shape.max), short(after.shape.rms), short(after.shape.kurtosis)],
      ],
    ),
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
    rowHeight,
    {
      rows: tokens,
      columns: channels,
      values,
      rowStride: channels,
      columnStride: 1,
      most: shape.max,
    },
    {
      alt: `${what}, ${tokens} tokens by ${channels} channels: the largest is ${short(shape.max)}, the kurtosis ${short(shape.kurtosis)}`,
      caption,
      x: `channel, 0 … ${channels - 1}`,
      y: `${what}: a row for each token`,
      most: `${short(-shape.max)} … ${short(shape.max)}`,
    },
  );
}

function drawChannels({ channels, before, after }: RotationView, layer: number): void {
  const series = (
    [
      ['before', 'series-2', before],
      ['after', 'series-3', after],
    ] as const
  ).map(([name, stroke, { values }]) => ({ name, stroke, most: channelAbsmax(values, channels) }));
  draw(
    byId('rotation-channels'),
    {
      alt: `The largest |y| of each channel in layer ${layer}: before, up to ${short(before.shape.max)} in few channels; after, up to ${short(after.shape.max)}, alike in all`,
      caption: 'The largest |y| of each channel. The int8 range must hold the largest of them all.',
    },
    () => ({
      height: 220,
      marginLeft: 56,
      marginBottom: 40,
      x: { label: 'channel', domain: [0, channels - 1] },
      y: { label: 'largest |y|', grid: true, domain: [0, before.shape.max * 1.05] },
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

function channelAbsmax(values: Float32Array, channels: number): readonly number[] {
  const most = new Array<number>(channels).fill(0);
  for (let i = 0; i < values.length; i++)
    most[i % channels] = Math.max(most[i % channels], Math.abs(values[i]));
  return most;
}
