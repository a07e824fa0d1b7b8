/**
 * An accumulator takes the values of one site or one state, sample after sample, and keeps one figure of all of them. The
 * ranges of static sites are in ranges.ts, the Hessians of GPTQ in gptq.ts.
 */
import { absmax } from '../ops/absmax-scale.ts';
import { stateRows } from '../state.ts';
import type { Tensor } from '../tensor.ts';

export interface Accumulator<T> {
  /** Takes the values of one sample: x f32[l, n] of a site, h f32[d, n] or of more axes of a state. */
  add(x: Tensor<'f32'>): void;
  /** The figure of all the values so far. */
  value(): T;
}

/** The accumulator whose figure `next` makes of a sample and the figure before it. `none` is the figure of no samples. */
export function accumulate<T>(none: T, next: (x: Tensor<'f32'>, before?: T) => T): Accumulator<T> {
  let figure: T | undefined;
  return {
    add: x => {
      figure = next(x, figure);
    },
    value: () => figure ?? none,
  };
}

/** How often values came: the looks at a state. */
export const callsSeen = () => accumulate(0, (_, before = 0) => before + 1);

/** How many rows there were: the tokens of a site. */
export const rowsSeen = () => accumulate(0, ({ shape: [l] }, before = 0) => before + l);

/** The largest |x| of each column. */
export const channelMaxima = () => accumulate<Float32Array>(new Float32Array(0), channelAbsmax);

/** The largest |h| of each row, a run of the last axis. */
export const rowMaxima = () =>
  accumulate(new Float32Array(0), ({ data, shape }, before = new Float32Array(stateRows(shape))) => {
    const size = shape.at(-1)!;
    return before.map((most, row) => Math.max(most, absmax(data.subarray(row * size, (row + 1) * size))));
  });

/** The largest |x| of each column of x, or of `before`, into which the result is written. */
export function channelAbsmax(
  { data, shape: [, n] }: Tensor<'f32'>,
  before: Float32Array = new Float32Array(n),
): Float32Array {
  for (let i = 0; i < data.length; i++) before[i % n] = Math.max(before[i % n], Math.abs(data[i]));
  return before;
}
