/** H₈ as a picture: what each output takes of each input. */
import { ops } from 'quamba';
import { byId } from '../dom.ts';
import { colour, draw, Plot, SERIES } from '../plots.ts';

const N = 8;
const identity = Float32Array.from({ length: N * N }, (_, i) => Number(i % N === Math.floor(i / N)));
const columns = ops.fwht({ x: { dtype: 'f32', shape: [N, N], data: identity } }).y.data;
const CELLS = [...columns].map((value, i) => ({ input: Math.floor(i / N), output: i % N, value }));

/** The column of `place` is stronger: where the entry at that place goes. */
export function drawMatrix(place: number): void {
  draw(
    byId('matrix'),
    {
      alt: `The 8 by 8 Hadamard matrix. The column of entry ${place} has the signs ${CELLS.filter(
        ({ input }) => input === place,
      )
        .map(({ value }) => (value > 0 ? '+' : '−'))
        .join(' ')}.`,
      caption:
        'The matrix itself: orange is +1/√8, blue −1/√8. Each row is an output. The strong column is that of the large entry: it goes to all eight outputs.',
    },
    width => ({
      width: Math.min(width, 320),
      height: Math.min(width, 320),
      marginTop: 36,
      x: { label: 'input', axis: 'top', tickSize: 0, paddingInner: 0.08 },
      y: { label: 'output', tickSize: 0, paddingInner: 0.08 },
      marks: [
        Plot.cell(CELLS, {
          ...{ x: 'input', y: 'output' },
          fill: d => (d.value > 0 ? SERIES[1] : SERIES[0]),
          fillOpacity: d => (d.input === place ? 1 : 0.4),
        }),
        Plot.text(CELLS, {
          ...{ x: 'input', y: 'output', fontSize: 14 },
          text: d => (d.value > 0 ? '+' : '−'),
          fill: d => (d.input === place ? colour('accent-ink') : colour('ink')),
        }),
      ],
    }),
  );
}
