import { ops } from 'quamba';
import source from '../../../src/ops/fwht.ts?raw';
import { byId } from '../dom.ts';
import { heatmap } from '../heatmap.ts';
import { shapeOf } from '../measures.ts';
import { number, percent } from '../numbers.ts';
import { ask } from '../remote.ts';
import { fillTable } from '../table.ts';
import { drawButterflies } from './butterflies.ts';
import { drawErrors } from './hadamard-errors.ts';
import { drawMatrix } from './hadamard-matrix.ts';
import { choice, part, showSources, slider } from './lesson.ts';
import type { Rotated, RotateWorker, Spread } from './rotate-worker.ts';
import { fetchSample, type Sample } from './sample.ts';

function butterflies(): void {
  const places = Object.fromEntries([...'01234567'].map(i => [i, `${i}`]));
  const show = () => {
    drawButterflies(large(), Number(place()), steps());
    drawMatrix(Number(place()));
  };
  const large = slider('large', number, show);
  const place = choice('place', places, show);
  const steps = slider('steps', value => (value === 4 ? 'all' : `${value} of 4`), show);
  byId<HTMLSelectElement>('place').value = '2';
  show();
}

/** (W Qᵀ)(Q y) = W y, row by row. */
function folding(): void {
  const w = { dtype: 'f32', shape: [2, 4], data: Float32Array.of(1, -2, 0.5, 3, 2, 1, -1, 0) } as const;
  const show = () => {
    const y = Float32Array.of(1, -0.5, outlier(), 0.75);
    const turned = ops.fwht({ x: y }).y;
    const turnedW = ops.fwht({ x: w }).y;
    const back = ops.fwht({ x: turned }, { inverse: true }).y;
    const plain = ops.linear({ x: y, w }).y;
    const folded = ops.linear({ x: turned, w: turnedW }).y;
    const four = (data: ArrayLike<number>, from = 0) =>
      Array.from({ length: 4 }, (_, i) => number(data[from + i], 4));
    fillTable(byId('folded'), [
      ['', 'channel 0', '1', '2', '3', 'product with W'],
      ['y', ...four(y), [...plain.data].map(v => number(v, 5)).join(' and ')],
      ['W, row 0', ...four(w.data), ''],
      ['W, row 1', ...four(w.data, 4), ''],
      ['Q y = fwht(y)', ...four(turned.data), [...folded.data].map(v => number(v, 5)).join(' and ')],
      ['W Qᵀ, row 0 = fwht(row 0)', ...four(turnedW.data), ''],
      ['W Qᵀ, row 1 = fwht(row 1)', ...four(turnedW.data, 4), ''],
      ['Qᵀ Q y = inverse fwht', ...four(back.data), ''],
    ]);
    const [before, after] = [shapeOf(y).max, shapeOf(turned.data).max];
    byId('fold-said').textContent =
      `Both products are the same, ${[...folded.data].map(v => number(v, 5)).join(' and ')}, while the largest value that int8 has to hold is ${number(after)} instead of ${number(before)}.`;
  };
  const outlier = slider('fold', number, show);
  show();
}

const SIDES = [
  {
    id: 'before',
    title: 'y as the scan wrote it',
    caption:
      'A handful of channels and tokens set the range. For nearly all the rest the grid has no step small enough.',
  },
  {
    id: 'after',
    title: 'Q y, rotated',
    caption: 'The same numbers, turned: every channel uses the range about equally.',
  },
] as const;

function realValues({ y, layer }: Sample, { turned, spreads }: Rotated): void {
  for (const span of document.querySelectorAll('.layer')) span.textContent = `${layer}`;
  const [rows, columns] = y.shape;
  for (const [i, values] of [y.data, turned].entries()) {
    const { id, title, caption } = SIDES[i];
    const { max: most, rms } = spreads[i];
    heatmap(
      byId(id),
      { values, rows, columns, rowHeight: 3, most },
      {
        alt: `Heat map of ${rows} tokens by ${columns} channels, ${id} the rotation; the largest value is ${number(most)}, the root mean square ${number(rms)}.`,
        caption,
        x: `channel, 0 … ${columns - 1}`,
        y: `${title}: a row for each token`,
      },
    );
  }
  const row = (name: string, of: (spread: Spread) => string) => [name, ...spreads.map(of)];
  fillTable(byId('spread'), [
    ['', 'y', 'Q y'],
    row('largest |value|', s => number(s.max)),
    row('root mean square', s => number(s.rms)),
    row('kurtosis', s => number(s.kurtosis)),
    row('step of the int8 grid', s => number(s.scales[0])),
    row('values that int8 rounds to 0', s => percent(s.zeros)),
  ]);
}

void showSources({ 'src/ops/fwht.ts': source });
void part(async () => {
  butterflies();
  folding();
  const sample = await fetchSample();
  const worker = new Worker(new URL('./rotate-worker.ts', import.meta.url), { type: 'module' });
  const rotated = await ask<RotateWorker, Rotated>(worker, api => api.rotate(sample.y, sample.outWeight));
  realValues(sample, rotated);
  drawErrors(rotated, sample.tokens);
});
