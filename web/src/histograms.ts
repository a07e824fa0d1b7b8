/** Histograms with logarithmic counts, so that a single outlier is seen beside a million small values. */
import type { Histogram } from './measures.ts';
import { number } from './numbers.ts';
import { colour, Plot } from './plots.ts';

export interface BarLook {
  /** Whether a bar lies beyond the range. */
  readonly isOutside?: (from: number, to: number) => boolean;
  /** The integer that the middle of a bar is rounded to: neighbours have different shades. */
  readonly integer?: (middle: number) => number;
}

/** Bars, without those that hold nothing. */
export function bars({ from, to, counts }: Histogram, { isOutside, integer }: BarLook = {}) {
  const width = (to - from) / counts.length;
  const bins = counts.flatMap((count, i) => {
    const [x1, x2] = [from + i * width, from + (i + 1) * width];
    const isOdd = integer ? Math.abs(integer((x1 + x2) / 2)) % 2 === 1 : false;
    return count > 0 ? [{ x1, x2, count, outside: isOutside?.(x1, x2) ?? false, isOdd }] : [];
  });
  return Plot.rectY(bins, {
    x1: 'x1',
    x2: 'x2',
    y1: 0,
    y2: 'count',
    insetLeft: 0.25,
    insetRight: 0.25,
    fill: bin => (bin.outside ? colour('bad') : colour('series-1')),
    fillOpacity: bin => (bin.isOdd ? 0.4 : 0.8),
    title: bin => `${bin.count} values from ${number(bin.x1)} to ${number(bin.x2)}`,
  });
}

/** A count is never below 1 where there is a bar; the axis begins at 0 all the same. */
export const countAxis = ({ counts }: Histogram): Plot.ScaleOptions => {
  const most = Math.max(1, ...counts);
  const ticks = [0, 1, 10, 100, 1e3, 1e4, 1e5].filter(tick => tick <= most);
  return {
    type: 'symlog',
    constant: 0.5,
    domain: [0, most * 1.6],
    ticks,
    tickFormat: (count: number) => count.toLocaleString('en-US'),
    label: 'values in a bin (log scale)',
  };
};
