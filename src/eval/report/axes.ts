/** The frame of a plot: title, axes with ticks, titles and units. */
import type { Scale } from './scale.ts';
import { line, text } from './svg.ts';

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export const heading = (title: string, subtitle = ''): string =>
  text(0, 16, title, { class: 'head' }) + (subtitle ? text(0, 34, subtitle, { class: 'soft' }) : '');

export interface AxisOptions {
  /** What is measured, with its unit. */
  readonly title: string;
  readonly format: (value: number) => string;
}

/** Ticks and their grid below a box; the title in the middle. */
export function xAxis({ left, right, top, bottom }: Box, x: Scale, { title, format }: AxisOptions): string {
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

/** Ticks and their grid left of a box; the title above, where it can be read without turning one's head. */
export function yAxis({ left, right, top }: Box, y: Scale, { title, format }: AxisOptions): string {
  const ticks = y.ticks.map(
    tick =>
      line(left, y(tick), right, y(tick), { class: 'grid' }) +
      text(left - 8, y(tick) + 4, format(tick), { anchor: 'end', class: 'soft small' }),
  );
  return [...ticks, text(left, top - 10, title, { class: 'soft' })].join('');
}
