/**
 * An accumulator takes the values of one site or one state, sample after sample, and keeps one figure of all of them. The
 * ranges of static sites are in ranges.ts, the Hessians of GPTQ in gptq.ts.
 */
import { absmax } from '../ops/absmax-scale.ts';
import type { Tensor } from '../tensor.ts';

export interface Accumulator<T> {
  /** Takes the values of one sample: x f32[l, n] of a site, h f32[d, n] of a state. */
  add(x: Tensor<'f32'>): void;
  /** The figure of all the values so far. */
  value(): T;
}

/** The largest |x| of each column. */
export function channelMaxima(): Accumulator<Float32Array> {
  let max: Float32Array | undefined;
  return {
    add: x => {
      max = channelAbsmax(x, max);
    },
    value: () => max ?? new Float32Array(0),
  };
}

/** The largest |h| of each row. */
export function rowMaxima(): Accumulator<Float32Array> {
  let max: Float32Array | undefined;
  return {
    add: ({ data, shape: [d, n] }) => {
      const before = max ?? new Float32Array(d);
      max = before.map((most, c) => Math.max(most, absmax(data.subarray(c * n, (c + 1) * n))));
    },
    value: () => max ?? new Float32Array(0),
  };
}

/** The largest |x| of each column of x, or of `before`, into which the result is written. */
export function channelAbsmax(x: Tensor<'f32'>, before?: Float32Array): Float32Array {
  const n = x.shape[1];
  const max = before ?? new Float32Array(n);
  for (let i = 0; i < x.data.length; i++) max[i % n] = Math.max(max[i % n], Math.abs(x.data[i]));
  return max;
}
