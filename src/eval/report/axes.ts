/** The frame of a plot: axes with ticks, titles and units. */
import type { Scale } from './scale.ts';
import { line, text, WIDTH } from './svg.ts';

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

type Format = (value: number) => string;

/** Ticks and their grid below a box; the title, what is measured with its unit, in the middle. */
export function xAxis({ left, right, top, bottom }: Box, x: Scale, title: string, format: Format): string {
  const ticks = x.ticks.map(
    tick =>
      line(x(tick), top, x(tick), bottom, { class: 'grid' }) +
      text(x(tick), bottom + 16, format(tick), { anchor: 'middle', class: 'soft small' }),
  );
  return [
    ...ticks,
    line(left, bottom, right, bottom, { class: 'axis' }),
    text((left + right) / 2, bottom + 34, title, { anchor: 'middle', class: 'soft' }),
  ].join('');
}

/** Ticks and their grid left of a box; the title above it, so that it is not turned. */
export function yAxis({ left, right, top }: Box, y: Scale, title: string, format: Format): string {
  const ticks = y.ticks.map(
    tick =>
      line(left, y(tick), right, y(tick), { class: 'grid' }) +
      text(left - 8, y(tick) + 4, format(tick), { anchor: 'end', class: 'soft small' }),
  );
  return [...ticks, text(left, top - 10, title, { class: 'soft' })].join('');
}

const [TOP, TALL, GAP] = [82, 150, 44];

/** The parts of a plot of four panels, two in a row, the rows `gap` apart. */
export const fourPanels = (gap: number) => ({
  height: TOP + 2 * TALL + gap + 44,
  /** Panel i, with room for ticks and labels beside its box. */
  panel: (i: number, roomLeft: number, roomRight: number): Box => {
    const width = (WIDTH - GAP) / 2;
    const start = (i % 2) * (width + GAP);
    const top = TOP + Math.floor(i / 2) * (TALL + gap);
    return { left: start + roomLeft, right: start + width - roomRight, top, bottom: top + TALL };
  },
});
