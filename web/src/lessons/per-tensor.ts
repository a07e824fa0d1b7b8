import { ops } from 'quamba';
import absmaxSource from '../../../src/ops/absmax-scale.ts?raw';
import dequantizeSource from '../../../src/ops/dequantize.ts?raw';
import quantizeSource from '../../../src/ops/quantize.ts?raw';
import { byId } from '../dom.ts';
import { bars, countAxis } from '../histograms.ts';
import { channelMost, type Histogram, shapeOf } from '../measures.ts';
import { number, percent } from '../numbers.ts';
import { breath } from '../pace.ts';
import { colour, draw, Plot, SERIES } from '../plots.ts';
import { scaleOf } from './int8.ts';
import { part, showSources, slider } from './lesson.ts';
import { CHANNELS, type Outcome, type Planted, plantedIn } from './planted.ts';
import { fetchSample, type Sample } from './sample.ts';

/** What is seen of the grid: most values of u lie here. */
const WINDOW = 1;
const TOKEN = 7;
const SHOWN = 64;
const FACTORS = Array.from({ length: 9 }, (_, i) => 10 ** (i / 4));

type Point = Outcome & { readonly factor: number };

async function live(planted: Planted): Promise<void> {
  const curve: Point[] = [];
  for (const factor of FACTORS) {
    await breath();
    curve.push({ factor, ...planted.at(factor) });
  }
  const show = () => {
    const times = 10 ** factor();
    const now = planted.at(times);
    drawGrid(now, planted.channel);
    drawCurve(curve, times, now);
    const before = curve[0];
    byId('said').textContent =
      `The largest value is ${number(now.max)}, a step ${number(now.step)}. The other ${CHANNELS - 1} channels, unchanged, are off by ${percent(now.error)} (${percent(before.error)} without the outlier), and their y by ${percent(now.errorOfY)}.`;
  };
  const factor = slider('factor', value => number(10 ** value, 2), show);
  show();
}

function drawGrid({ u, rounded, step, max }: Outcome, outlier: number): void {
  const width = u.shape[1];
  const first = Math.min(Math.max(outlier - SHOWN / 2, 0), width - SHOWN);
  const dots = Array.from({ length: SHOWN }, (_, i) => {
    const at = TOKEN * width + first + i;
    return { channel: first + i, real: u.data[at], int8: rounded.data[at] };
  });
  const inside = dots.filter(d => Math.abs(d.real) <= WINDOW && d.channel !== outlier);
  const count = Math.floor(WINDOW / step);
  const lines = Array.from({ length: 2 * count + 1 }, (_, i) => (i - count) * step);
  const isDense = lines.length > 61;
  draw(
    byId('grid'),
    {
      alt: `Values of ${SHOWN} channels of one token on the int8 grid; a step is ${number(step)}, so that the window of ±${WINDOW} has ${lines.length} grid lines.`,
      caption:
        `Orange: the value. Blue: where int8 puts it. The horizontal lines are the steps of the grid; ${isDense ? 'they lie too close to be drawn' : `${lines.length} of them fall between −${WINDOW} and ${WINDOW}`}. ` +
        `The outlier, channel ${outlier}, is outside of the figure: the grid has to reach ±${number(max)}.`,
    },
    () => ({
      height: 320,
      marginLeft: 44,
      x: { label: 'channel' },
      y: { label: 'value of u', domain: [-WINDOW, WINDOW] },
      marks: [
        ...(isDense ? [] : [Plot.ruleY(lines, { stroke: colour('line') })]),
        Plot.ruleX([outlier], { stroke: colour('bad'), strokeDasharray: '4 3' }),
        Plot.text([outlier], {
          x: d => d,
          y: WINDOW,
          text: () => 'outlier',
          fill: colour('bad'),
          textAnchor: 'start',
          dx: 5,
          dy: 8,
        }),
        Plot.link(inside, {
          ...{ x1: 'channel', x2: 'channel', y1: 'real' },
          y2: d => Math.max(Math.min(d.int8, WINDOW), -WINDOW),
          stroke: colour('bad'),
          strokeWidth: 1.5,
        }),
        Plot.dot(inside, { x: 'channel', y: 'real', fill: SERIES[1], r: 3 }),
        Plot.dot(
          inside.filter(d => Math.abs(d.int8) <= WINDOW),
          { x: 'channel', y: 'int8', stroke: SERIES[0], strokeWidth: 2, r: 3.5 },
        ),
      ],
    }),
  );
}

function drawCurve(curve: readonly Point[], times: number, now: Outcome): void {
  const names = ['u of the other channels', 'their y'];
  const pointsOf = (factor: number, { error, errorOfY }: Outcome) =>
    [error, errorOfY].map((value, i) => ({ factor, error: 100 * value, name: names[i] }));
  draw(
    byId('curve'),
    {
      alt: `Relative error against the outlier’s factor: from ${percent(curve[0].error)} at 1 to ${percent(curve.at(-1)!.error)} at 100; now ${percent(now.error)}.`,
      caption: 'Relative L2 error ‖x̂ − x‖ / ‖x‖ of all channels but the outlier.',
    },
    () => ({
      height: 260,
      marginLeft: 50,
      color: { domain: names, range: [SERIES[1], SERIES[0]], legend: true },
      x: { type: 'log', label: 'outlier ×', tickFormat: (d: number) => `${d}`, ticks: 3 },
      y: { label: 'error, %', grid: true, zero: true },
      marks: [
        Plot.line(
          curve.flatMap(point => pointsOf(point.factor, point)),
          { x: 'factor', y: 'error', stroke: 'name', strokeWidth: 2 },
        ),
        Plot.ruleX([times], { stroke: colour('quiet'), strokeDasharray: '4 3' }),
        Plot.dot(pointsOf(times, now), { x: 'factor', y: 'error', fill: 'name', r: 5 }),
      ],
    }),
  );
}

function asItIs({ y, layer }: Sample): void {
  for (const span of document.querySelectorAll('.layer')) span.textContent = `${layer}`;
  const [, d] = y.shape;
  const { max, rms } = shapeOf(y.data);
  const largest = channelMost(y.data, d).map((value, channel) => ({ channel, value }));
  draw(
    byId('channels'),
    {
      alt: `The largest |y| of each of ${d} channels: up to ${number(max)}, where the root mean square of all values is ${number(rms)}.`,
      caption: `The largest |y| of each channel. The dashed line is the root mean square of all values, ${number(rms)}.`,
    },
    () => ({
      height: 260,
      x: { label: 'channel' },
      y: { label: 'largest |y|', grid: true },
      marks: [
        Plot.ruleX(largest, { x: 'channel', y: 'value', stroke: SERIES[1] }),
        Plot.ruleY([rms], { stroke: colour('ink'), strokeDasharray: '5 4' }),
        Plot.ruleY([0]),
      ],
    }),
  );

  const codes = ops.quantize({ x: y, scale: scaleOf(y) }).q.data;
  const counts = new Array<number>(256).fill(0);
  for (const q of codes) counts[q + 128]++;
  const used: Histogram = { from: -128.5, to: 127.5, counts };
  draw(
    byId('codes'),
    {
      alt: `How often each of the 255 int8 values is used by y, logarithmic: ${percent(counts[128] / codes.length)} are 0.`,
      caption: 'How many of the values of y fall on each step of the grid (logarithmic).',
    },
    () => ({
      height: 260,
      marginLeft: 50,
      x: { label: 'q, steps', domain: [-128, 127] },
      y: countAxis(used),
      marks: [bars(used), Plot.ruleY([0])],
    }),
  );
  const share = (most: number) => percent(codes.filter(q => Math.abs(q) <= most).length / codes.length);
  byId('codes-said').textContent =
    `A step of y is ${number(max / 127)}. Of ${codes.length.toLocaleString('en')} values ${share(0)} become 0, and ${share(3)} use only the seven steps from −3 to 3. The other 248 are there for a few.`;
}

void showSources({
  'src/ops/quantize.ts': quantizeSource,
  'src/ops/dequantize.ts': dequantizeSource,
  'src/ops/absmax-scale.ts': absmaxSource,
});
void part(async () => {
  const sample = await fetchSample();
  await breath();
  asItIs(sample);
  await live(plantedIn(sample));
});
