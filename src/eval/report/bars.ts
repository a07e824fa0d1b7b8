/** Bars of KL divergence, one below the other, each with its name before it and its figure behind it. */
import { type Box, xAxis } from './axes.ts';
import { linear } from './scale.ts';
import { element, line, rect, text, tip } from './svg.ts';
import { number } from './words.ts';

const BAR = 15;
/** From one bar to the next. */
export const ROW = 23;

export interface Bar {
  readonly name: string;
  readonly kl: number;
  /** What it says to whoever points at it. */
  readonly says: string;
  readonly colour: number;
}
/** Where they stand; `names`: the width of the names. */
export interface Place {
  readonly left: number;
  readonly width: number;
  readonly names: number;
}

/** @param reference a figure that every bar is held against, by a line. */
export function bars(
  title: string,
  rows: readonly Bar[],
  { left, width, names }: Place,
  reference?: number,
): string {
  const box: Box = { left: left + names, top: 78, right: left + width - 58, bottom: 82 + ROW * rows.length };
  const x = linear(
    rows.map(({ kl }) => kl),
    [box.left, box.right],
    { zero: true, count: 3 },
  );
  return [
    text(left + 2, 60, title, { class: 'sub' }),
    xAxis(box, x, 'KL, nats', kl => `${Number(kl.toPrecision(3))}`),
    ...rows.map(({ name, kl, says, colour }, i) => {
      const y = box.top + 4 + i * ROW;
      const end = Math.max(x(kl), reference === undefined ? 0 : x(reference));
      return [
        text(box.left - 8, y + 12, name, { anchor: 'end', class: 'small' }),
        rect(box.left, y, x(kl) - box.left, BAR, { class: `f${colour}` }),
        // short bars are hard to meet: an invisible strip as wide as the axis says what the bar is
        element('g', {}, tip(says), rect(box.left, y, box.right - box.left, BAR, { opacity: 0 })),
        text(end + 6, y + 12, number(kl), { class: 'soft small halo' }),
      ].join('');
    }),
    reference === undefined ? '' : line(x(reference), box.top, x(reference), box.bottom, { class: 'ref' }),
  ].join('');
}
