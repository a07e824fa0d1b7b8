/**
 * What clipping does to u and what rotation does to y, measured in the float model: for each layer, how far the range is from most of
 * the values, before and after.
 */
import type { Program } from '../graph.ts';
import { fwht } from '../ops/fwht.ts';
import { channelAbsmax } from '../quant/accumulators.ts';
import { placesOf } from '../quant/observers.ts';
import type { Stats } from '../quant/stats.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { type Histogram, histogramObserver, type Shape, shapeObserver, sortedChannels } from './moments.ts';
import { overWindows, type Reading, tokensIn } from './windows.ts';

export interface Side {
  readonly shape: Shape;
  readonly histogram: Histogram;
  /** The largest |x| of channels, largest first (see `sortedChannels`). */
  readonly channels: readonly number[];
  /** The real size of one step of the int8 grid. */
  readonly step: number;
}
interface Pair {
  readonly before: Side;
  readonly after: Side;
}
export interface OutlierLayer {
  readonly layer: number;
  /** The scan's input, as it is and clipped at `range`; `share` of its values are beyond. */
  readonly u: Pair & { readonly range: number; readonly share: number };
  /** The scan's output, as it is and rotated. */
  readonly y: Pair;
}
export interface Outliers {
  readonly tokens: number;
  readonly p: number;
  readonly layers: readonly OutlierLayer[];
}

/**
 * Observes u and y of every layer.
 *
 * @param p what the ranges of u were made for
 * @param ranges what the values of a site are clipped at, from calibration
 */
export function measureOutliers(
  program: Program,
  reading: Reading,
  p: number,
  ranges: Stats['ranges'],
): Outliers {
  const named = (site: string) => placesOf(program.graph).filter(({ word }) => word === site);
  const us = named('scanIn').map(({ ref }) => ({ ref, ...clipping(ranges[ref]) }));
  const ys = named('scanOut').map(({ ref }) => ({ ref, ...pair(x => fwht({ x }).y) }));
  const seen = new Map([...us, ...ys].map(({ ref, observe }) => [ref, observe]));
  overWindows(program, reading, (sequence, window) => {
    sequence.feed(window, { logits: 'last', observe: (_, ref, x) => seen.get(ref)?.(x) });
  });
  return {
    tokens: tokensIn(reading.windows),
    p,
    layers: us.map(({ sides }, layer) => ({ layer, u: sides(), y: ys[layer].sides() })),
  };
}

function clipping(range: number) {
  let beyond = 0;
  const { observe, sides } = pair(({ data, shape }) => {
    for (const value of data) if (Math.abs(value) > range) beyond++;
    const clipped = data.map(value => Math.min(Math.max(value, -range), range));
    return tensor(clipped, shape);
  });
  const clippedSides = (): OutlierLayer['u'] => {
    const { before, after } = sides();
    return { before, after: { ...after, step: range / 127 }, range, share: beyond / before.shape.count };
  };
  return { observe, sides: clippedSides };
}

/** Values as they are, and as a technique makes them. */
function pair(technique: (x: Tensor<'f32'>) => Tensor<'f32'>) {
  const [before, after] = [sideObserver(), sideObserver()];
  return {
    observe(x: Tensor<'f32'>) {
      before.observe(x);
      after.observe(technique(x));
    },
    sides: () => ({ before: before.side(), after: after.side() }),
  };
}

function sideObserver() {
  const shape = shapeObserver();
  const histogram = histogramObserver();
  let channels: Float32Array | undefined;
  return {
    observe(x: Tensor<'f32'>) {
      shape.observe(x.data);
      histogram.observe(x.data);
      channels = channelAbsmax(x, channels);
    },
    side(): Side {
      const { max, ...rest } = shape.shape();
      return {
        shape: { ...rest, max },
        histogram: histogram.histogram(),
        channels: sortedChannels(channels ?? new Float32Array(0)),
        step: max / 127,
      };
    },
  };
}
