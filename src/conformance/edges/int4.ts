/** Edges of products with 4-bit weights. */
import { ops } from '../../ops/index.ts';
import { type Edge, f32, i8, times } from './edge.ts';

const { dequantizeI4, linearI4 } = ops;
/** Every byte. */
const ALL = times(256, i => i - 128);

export const int4Edges: readonly Edge[] = [
  ...[
    [127, 0x77],
    [-128, -0x78],
    [-128, 0x77],
    [127, -0x78],
  ].map(
    ([x, w]): Edge => [
      linearI4,
      `all=${x}x${w}`,
      'sums as large as they get, in one group: no int16 on the way',
      () => ({
        inputs: {
          x: i8(
            times(5120, () => x),
            1,
            5120,
          ),
          xscale: f32([0.5], 1),
          w: i8(
            times(2560, () => w),
            1,
            2560,
          ),
          wscale: f32([-0.25], 1, 1),
        },
      }),
    ],
  ),
  [
    linearI4,
    'every-byte',
    'all 256 pairs of weights, at every place of a line, in groups that begin in the middle of a byte',
    () => ({
      inputs: {
        x: i8(
          times(510, i => ALL[(i * 7) % 256]),
          1,
          510,
        ),
        xscale: f32([0.0371], 1),
        w: i8(
          times(8 * 255, i => ALL[(i + (i >> 8)) % 256]),
          8,
          255,
        ),
        wscale: f32(
          times(80, i => (i % 2 ? -0.013 : 0.02)),
          8,
          10,
        ),
      },
    }),
  ],
  [
    dequantizeI4,
    'every-byte',
    'all 256 pairs by ordinary, tiny and large scales of both signs, in groups that begin in the middle of a byte',
    () => ({
      inputs: {
        q: i8(
          times(4 * 256, i => ALL[i % 256]),
          4,
          256,
        ),
        scale: f32(
          times(4 * 7, i => [0.5, -0.0371, 1e-45, -1e-39, 1e36][i % 5]),
          4,
          7,
        ),
      },
      attrs: { n: 511 },
    }),
  ],
];
