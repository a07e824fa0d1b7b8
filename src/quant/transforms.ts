/**
 * The bases that a site may be quantized in. Each is an invertible map T of the channels with three faces:
 *
 *   apply   x → T x                at the site
 *   fold    W → W T⁻¹              offline, in the weight of a linear that reads the site: (W T⁻¹)(T x) = W x
 *   undo    T x → x                for any other reader
 */
import { type OpNode, opNode, type Ref } from '../graph.ts';
import { absmax, scaleOf } from '../ops/absmax-scale.ts';
import { ops } from '../ops/index.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { channelAbsmax } from './accumulators.ts';
import { power } from './ranges.ts';
import type { Basis } from './scheme.ts';

const f = Math.fround;

export interface Transform {
  /** The word in the names of values in this basis: `layers.0.scanOut.rotated`. */
  readonly word: string;
  /**
   * Makes the constant that apply, undo and fold read, from the largest |x| of each channel and the weights that read the site.
   * Absent where they read none.
   */
  readonly factors?: (channels: Float32Array, weights: readonly Tensor<'f32'>[]) => Tensor<'f32'>;
  /** The range of every site in this basis, whose channels are limited by the range of the plain site. Absent: it is observed. */
  readonly range?: number;
  apply(x: Ref, name: Ref, factors: Ref): OpNode;
  undo(x: Ref, name: Ref, factors: Ref): OpNode;
  fold(w: Tensor<'f32'>, factors?: Tensor<'f32'>): Tensor<'f32'>;
}

export const rotation = {
  word: 'rotated',
  apply: (x, name) => opNode(ops.fwht, { x }, name, { inverse: false }),
  undo: (x, name) => opNode(ops.fwht, { x }, name, { inverse: true }),
  fold: w => ops.fwht({ x: w }, { inverse: false }).y, // row by row: (W Qᵀ)ᵢ = Q Wᵢ
} satisfies Transform;

const scaling = {
  apply: (x, name, c) => opNode(ops.scaleChannels, { x, c }, name, { inverse: true }),
  undo: (x, name, c) => opNode(ops.scaleChannels, { x, c }, name, { inverse: false }),
  fold: (w, c) => ops.scaleChannels({ x: w, c: c! }, { inverse: false }).y,
} satisfies Partial<Transform>;

const smoothen = (alpha: number): Transform => ({
  ...scaling,
  word: 'smoothed',
  factors: (channels, weights) => smoothingFactors(channels, weights, alpha),
});

/** The factors are the steps of the channels, or of runs of them. The scale that is left is 1, and products with it are exact. */
const inSteps = (run: number): Transform => ({
  ...scaling,
  word: 'steps',
  range: 127,
  factors: channels =>
    tensor(
      channels.map((_, i) => {
        const first = i - (i % run);
        return scaleOf(absmax(channels.subarray(first, first + run)));
      }),
    ),
});

/** The transform of a basis; undefined for `none`. */
export const transformOf = (basis: Basis): Transform | undefined =>
  typeof basis !== 'object'
    ? BASES[basis]
    : 'channels' in basis
      ? inSteps(basis.channels)
      : smoothen(basis.smooth);
const BASES = { none: undefined, hadamard: rotation, channels: inSteps(1) } as const;

/**
 * SmoothQuant's factors s_j = max|x_j|ᵅ / max|W_j|¹⁻ᵅ, at least 1e-5. They are made from the largest |x| of each channel, and
 * from the largest |W| of each column over the weights that read the channel.
 *
 * Source: arXiv 2211.10438 eq. 4.
 */
export function smoothingFactors(
  channels: Float32Array,
  weights: readonly Tensor<'f32'>[],
  alpha: number,
): Tensor<'f32'> {
  const n = channels.length;
  const columns = new Float32Array(n);
  for (const w of weights) channelAbsmax(w, columns);
  const floor = f(1e-5);
  const data = channels.map((max, j) => {
    const factor = f(power(Math.max(max, floor), alpha) / power(Math.max(columns[j], floor), 1 - alpha));
    return Math.max(factor, floor);
  });
  return { dtype: 'f32', shape: [n], data };
}
