/** The error that int8 makes in out_proj, token by token: as it is, and rotated. */

import { byId } from '../dom.ts';
import { number, percent } from '../numbers.ts';
import { draw, Plot, SERIES } from '../plots.ts';
import type { Rotated } from './rotate-worker.ts';

export function drawErrors({ tokens, plain, rotated }: Rotated, words: readonly string[]): void {
  const sides = { 'y in int8': plain, 'Q y in int8': rotated };
  const dots = Object.entries(sides).flatMap(([side, { each }]) =>
    tokens.map((token, i) => ({ side, token, error: 100 * each[i], word: words[token] })),
  );
  const [before, after] = [plain.all, rotated.all];
  draw(
    byId('errors'),
    {
      alt: `Relative error of out_proj by token: ${percent(before)} over all tokens with y in int8, ${percent(after)} with y rotated.`,
      caption: `Relative error ‖int8 − float‖ / ‖float‖ of 64 outputs of out_proj for every third token. Over all of them ${percent(before)} as it is, ${percent(after)} rotated: ${number(before / after, 2)} times less.`,
    },
    () => ({
      height: 300,
      marginLeft: 50,
      color: { domain: Object.keys(sides), range: [SERIES[1], SERIES[0]], legend: true },
      x: { label: 'token' },
      y: { type: 'log', label: 'error, %', grid: true, tickFormat: (d: number) => `${d}`, ticks: 5 },
      marks: [
        Plot.line(dots, { x: 'token', y: 'error', stroke: 'side', strokeOpacity: 0.35 }),
        Plot.dot(dots, {
          x: 'token',
          y: 'error',
          fill: 'side',
          r: 4,
          title: d => `“${d.word}” ${number(d.error)} %`,
        }),
      ],
    }),
  );
}
