import { absmax } from 'lib/ops/absmax-scale.ts';
import quantizeSource from '../../../src/ops/quantize.ts?raw';
import rangesSource from '../../../src/quant/ranges.ts?raw';
import { byId } from '../dom.ts';
import { bars, countAxis } from '../histograms.ts';
import { histogram } from '../measures.ts';
import { number, percent } from '../numbers.ts';
import { colour, draw, Plot, SERIES } from '../plots.ts';
import { ask } from '../remote.ts';
import type { ClipErrors } from './clip-errors.ts';
import type { ClipWorker } from './clip-worker.ts';
import { part, showSources, slider } from './lesson.ts';
import { fetchSample } from './sample.ts';

/** 1, then from 1 − 10⁻⁵ to 1 − 10⁻² in equal ratios of 1 − p. */
const PS = [1, ...Array.from({ length: 24 }, (_, i) => 1 - 10 ** (-5 + (3 * i) / 23))];
/** Where p = 1 stands on a logarithmic axis of 1 − p. */
const AT_ONE = 4e-6;
const placeOf = (p: number) => (p === 1 ? AT_ONE : 1 - p);
/** As many digits as tell p from its neighbours. */
const written = (p: number) => (p === 1 ? '1' : `${Number(p.toFixed(1 + Math.ceil(-Math.log10(1 - p))))}`);

const curveOf = (u: Float32Array): Promise<readonly ClipErrors[]> =>
  ask<ClipWorker, readonly ClipErrors[]>(
    new Worker(new URL('./clip-worker.ts', import.meta.url), { type: 'module' }),
    api => api.errors(u, PS),
  );

function drawHistogram(u: Float32Array, { range, p }: ClipErrors): void {
  const max = absmax(u);
  const values = histogram(u, max, 101);
  draw(
    byId('histogram'),
    {
      alt: `Histogram of u with logarithmic counts; the largest |u| is ${number(max)}, the range at p = ${written(p)} is ${number(range)}.`,
      caption:
        'How often each value of u occurs (logarithmic). The dashed lines are the ends of the grid; red is cut off.',
    },
    () => ({
      height: 260,
      marginLeft: 50,
      x: { label: 'u', domain: [-max, max] },
      y: countAxis(values),
      marks: [
        bars(values, { isOutside: (from, to) => Math.abs(from + to) / 2 > range }),
        Plot.ruleY([0]),
        Plot.ruleX([-range, range], { stroke: colour('ink'), strokeDasharray: '5 4', strokeWidth: 1.5 }),
      ],
    }),
  );
}

function drawCurve(curve: readonly ClipErrors[], now: ClipErrors, best: ClipErrors): void {
  const kinds = { 'both together': 'total', rounding: 'rounding', clipping: 'clipping' } as const;
  const names = Object.keys(kinds) as (keyof typeof kinds)[];
  const points = (at: ClipErrors) =>
    names.map(name => ({ name, place: placeOf(at.p), error: 100 * at[kinds[name]] }));
  draw(
    byId('curve'),
    {
      alt: `Relative error of u against p: smallest at p = ${written(best.p)} with ${percent(best.total, 3)}; now ${percent(now.total, 3)}.`,
      caption:
        'Relative L2 error of u after int8. To the right more is clipped; the axis is logarithmic in 1 − p, the share beyond the range.',
    },
    width => ({
      height: 280,
      marginLeft: 50,
      color: { domain: names, range: [colour('ink'), SERIES[0], colour('bad')], legend: true },
      x: {
        type: 'log',
        label: 'p',
        domain: [AT_ONE * 0.9, 1.1e-2],
        ticks: width < 500 ? [AT_ONE, 1e-4, 1e-2] : [AT_ONE, 1e-5, 1e-4, 1e-3, 1e-2],
        tickFormat: (d: number) => (d === AT_ONE ? '1' : written(1 - d)),
      },
      y: {
        ...{ type: 'sqrt', label: 'error, % (root scale)', grid: true, domain: [0, 40] },
        ticks: [0, 1, 2, 5, 10, 20, 40],
      },
      marks: [
        Plot.ruleX([placeOf(now.p)], { stroke: colour('quiet'), strokeDasharray: '4 3' }),
        Plot.line(curve.flatMap(points), { x: 'place', y: 'error', stroke: 'name', strokeWidth: 2 }),
        Plot.dot(points(now), { x: 'place', y: 'error', fill: 'name', r: 4 }),
        Plot.dot([best], {
          x: d => placeOf(d.p),
          y: d => 100 * d.total,
          symbol: 'star',
          r: 6,
          fill: colour('good'),
          stroke: colour('raised'),
        }),
        Plot.text([best], {
          x: d => placeOf(d.p),
          y: d => 100 * d.total,
          text: () => 'smallest',
          dy: -14,
          fill: colour('good'),
          stroke: colour('raised'),
          strokeWidth: 4,
        }),
      ],
    }),
  );
}

void showSources({ 'src/ops/quantize.ts': quantizeSource, 'src/quant/ranges.ts': rangesSource });
void part(async () => {
  const { u, layer } = await fetchSample();
  byId('main').querySelector('.layer')!.textContent = `${layer}`;
  const curve = await curveOf(u.data);
  const best = curve.reduce((a, b) => (b.total < a.total ? b : a));
  const show = () => {
    const now = curve[p()];
    drawHistogram(u.data, now);
    drawCurve(curve, now, best);
    byId('said').textContent =
      `p = ${written(now.p)}: the grid reaches ±${number(now.range)}, a step is ${number(now.range / 127)}. ` +
      `${now.clipped.toLocaleString('en')} of ${u.data.length.toLocaleString('en')} values are cut off. ` +
      `Error ${percent(now.total, 3)}: rounding ${percent(now.rounding, 3)}, clipping ${percent(now.clipping, 3)} (their squares add up).`;
  };
  const p = slider('p', index => written(PS[index]), show);
  byId('best').addEventListener('click', () => {
    const input = byId<HTMLInputElement>('p');
    input.valueAsNumber = curve.indexOf(best);
    input.dispatchEvent(new Event('input'));
  });
  show();
});
