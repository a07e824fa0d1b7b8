/** Edges of products with 4-bit weights. */
import { ops } from '../../ops/index.ts';
import { type Edge, edge, f32, f32By, i8By, times } from './edge.ts';

const { dequantizeI4, linearI4 } = ops;
/** Every byte. */
const ALL = times(256, i => i - 128);

/* biome-ignore format: rows of an op, a name, a sentence, and the inputs */
export const int4Edges: readonly Edge[] = [
  ...[[127, 0x77], [-128, -0x78], [-128, 0x77], [127, -0x78]].map(([x, w]) =>
    edge(linearI4, `all=${x}x${w}`, 'sums as large as they get, in one group: no int16 on the way', () => ({
      x: i8By([1, 5120], () => x),
      xscale: f32([0.5], 1),
      w: i8By([1, 2560], () => w),
      wscale: f32([-0.25], 1, 1),
    }))),
  edge(linearI4, 'every-byte',
    'all 256 pairs of weights, at every place of a line, in groups that begin in the middle of a byte', () => ({
      x: i8By([1, 510], i => ALL[(i * 7) % 256]),
      xscale: f32([0.0371], 1),
      w: i8By([8, 255], i => ALL[(i + (i >> 8)) % 256]),
      wscale: f32By([8, 10], i => (i % 2 ? -0.013 : 0.02)),
    })),
  edge(dequantizeI4, 'every-byte',
    'all 256 pairs by ordinary, tiny and large scales of both signs, in groups that begin in the middle of a byte',
    () => ({
      q: i8By([4, 256], i => ALL[i % 256]),
      scale: f32By([4, 7], i => [0.5, -0.0371, 1e-45, -1e-39, 1e36][i % 5]),
    }),
    { attrs: { n: 511 } }),
];
