/**
 * What clipping does to u and what rotation does to y, measured in the float model: for each layer, how far the range is from most of
 * the values, before and after.
 */
import type { Program, Ref, SiteNode } from '../graph.ts';
import { fwht } from '../ops/fwht.ts';
import { channelAbsmax } from '../quant/accumulators.ts';
import { quantileOfAbs } from '../quant/ranges.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { type Histogram, histogramObserver, type Shape, shapeObserver, sortedChannels } from './moments.ts';
import { overWindows, type Prepare } from './windows.ts';

export interface Side {
  readonly shape: Shape;
  readonly histogram: Histogram;
  /** The largest |x| of channels, largest first (see `sortedChannels`). */
  readonly channels: readonly number[];
  /** The real size of one step of the int8 grid. */
  readonly step: number;
}
export interface OutlierLayer {
  readonly layer: number;
  /** The scan's input, as it is and clipped at `p`. */
  readonly u: {
    readonly before: Side;
    readonly after: Side;
    /** What is clipped at, and the share of values beyond it. */
    readonly range: number;
    readonly share: number;
  };
  /** The scan's output, as it is and rotated. */
  readonly y: { readonly before: Side; readonly after: Side };
}
export interface Outliers {
  readonly tokens: number;
  readonly p: number;
  readonly layers: readonly OutlierLayer[];
}

/**
 * Observes u and y of every layer over windows, each from an empty state.
 *
 * @param rangeOf the range that a site's values are clipped at, by the site's name in the graph (from calibration); where it is
 *   absent, the p-quantile of the first window's |u|
 */
export function measureOutliers(
  program: Program,
  windows: readonly Int32Array[],
  {
    prepare,
    p,
    rangeOf,
    onWindow,
  }: {
    readonly prepare: Prepare;
    readonly p: number;
    readonly rangeOf: (site: Ref) => number | undefined;
    readonly onWindow?: () => void;
  },
): Outliers {
  const layers = layersOf(program);
  const seen = new Map(layers.flatMap(({ u, y }) => [u, y]).map(ref => [ref, pair()]));
  const ranges = new Map<Ref, number>();
  const clippedAt = (ref: Ref, x: Float32Array): number => {
    const range = ranges.get(ref) ?? rangeOf(ref) ?? quantileOfAbs(x, p);
    ranges.set(ref, range);
    return range;
  };
  const outOf = new Set(layers.map(({ y }) => y));
  const observe = (_: string, ref: Ref, { data, shape: [, n] }: Tensor<'f32'>): void => {
    const sides = seen.get(ref);
    if (!sides) return;
    sides.before.observe(data, n);
    const after = outOf.has(ref)
      ? fwht({ x: tensor(data, [data.length / n, n]) }).y.data
      : sides.clip(data, clippedAt(ref, data));
    sides.after.observe(after, n);
  };
  overWindows(program, windows, prepare, (sequence, window) => {
    sequence.feed(window, { logits: 'last', observe });
    onWindow?.();
  });
  return {
    tokens: windows.reduce((sum, { length }) => sum + length, 0),
    p,
    layers: layers.map(({ u, y }, layer): OutlierLayer => {
      const [ofU, ofY] = [seen.get(u)!, seen.get(y)!];
      const range = ranges.get(u)!;
      const share = ofU.clipped() / ofU.before.side().shape.count;
      return {
        layer,
        u: { before: ofU.before.side(), after: { ...ofU.after.side(), step: range / 127 }, range, share },
        y: { before: ofY.before.side(), after: ofY.after.side() },
      };
    }),
  };
}

/** The names of u and y in each layer, in order. */
function layersOf({ graph }: Program): readonly { readonly u: Ref; readonly y: Ref }[] {
  const named = (word: string) =>
    graph.nodes.filter((node): node is SiteNode => node.kind === 'site' && node.site === word);
  const outs = named('scanOut');
  return named('scanIn').map(({ out: u }, i) => ({ u, y: outs[i].out }));
}

function pair() {
  let clipped = 0;
  return {
    before: sideObserver(),
    after: sideObserver(),
    clip(x: Float32Array, range: number): Float32Array {
      for (const value of x) if (Math.abs(value) > range) clipped++;
      return x.map(value => Math.min(Math.max(value, -range), range));
    },
    clipped: () => clipped,
  };
}

function sideObserver() {
  const shape = shapeObserver();
  const histogram = histogramObserver();
  let channels: Float32Array | undefined;
  return {
    observe(x: Float32Array, n: number) {
      shape.observe(x);
      histogram.observe(x);
      channels = channelAbsmax(tensor(x, [x.length / n, n]), channels);
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
