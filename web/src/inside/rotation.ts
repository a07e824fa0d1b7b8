/** y of every token and channel, before and after the Hadamard rotation. */
import type { RemoteLab } from '../lab/open.ts';
import { byId, short, table } from './dom.ts';
import { heatmap } from './heatmap.ts';

const MOST_HEIGHT = 320;

export async function showRotation(lab: RemoteLab, layer: number): Promise<void> {
  const { tokens, channels, before, after } = await lab.rotation(layer);
  const rowHeight = Math.max(4, Math.min(12, Math.floor(MOST_HEIGHT / tokens)));
  const most = before.shape.max;
  const map = (id: string, { values, shape }: typeof before, what: string, caption: string) =>
    heatmap(
      byId(id),
      rowHeight,
      { rows: tokens, columns: channels, at: (row, column) => values[row * channels + column], most },
      {
        alt: `${what} in layer ${layer}, ${tokens} tokens by ${channels} channels: the largest is ${short(shape.max)}, the kurtosis ${short(shape.kurtosis)}`,
        caption,
        x: `channel, 0 … ${channels - 1}`,
        y: `${what}: tokens, from top to bottom`,
        most: `${short(-most)} … ${short(most)}`,
      },
    );
  map('rotation-before', before, 'y', 'Before: a few channels of a few tokens are far larger than the rest.');
  map(
    'rotation-after',
    after,
    'y, rotated',
    'After, in the same colours: the outliers have gone into all channels.',
  );
  byId('rotation-numbers').replaceChildren(
    table(
      `y in layer ${layer}`,
      ['', 'largest |y|', 'root mean square', 'kurtosis (normal: 3)'],
      [
        ['before', short(before.shape.max), short(before.shape.rms), short(before.shape.kurtosis)],
        ['after', short(after.shape.max), short(after.shape.rms), short(after.shape.kurtosis)],
      ],
    ),
  );
}
