import { absmax } from 'lib/ops/absmax-scale.ts';
import source from '../../../src/ops/selective-scan.ts?raw';
import { byId } from '../dom.ts';
import { heatmap } from '../heatmap.ts';
import { number, percent } from '../numbers.ts';
import { colour, draw, Plot, SERIES } from '../plots.ts';
import { fillTable } from '../table.ts';
import { type Channel, type Course, channelOf, courseOf, shareOf } from './channel.ts';
import { choice, part, showSources, showWords, slider } from './lesson.ts';
import { fetchSample, type Sample } from './sample.ts';

const LENGTH = 48;
const CHANNELS = {
  474: '474: Δ changes from token to token',
  143: '143: Δ always large, forgets soon',
  676: '676: Δ tiny, remembers long',
  350: '350: a loud one, its y is an outlier',
};
const SHOWN_STATES = [0, 1, 3, 6, 10, 15];

function live(sample: Sample): void {
  const power = (value: number) => (value < 0 ? `1/${number(2 ** -value)}` : number(2 ** value));
  const show = () => {
    const t = token();
    const factor = (i: number) => 2 ** (all() + (i === t ? one() : 0));
    const values = channelOf(sample, Number(channel()), LENGTH, factor);
    const course = courseOf(values);
    drawSignal(values, course, t);
    drawSteps(values, t);
    drawStates(course, t);
    drawMemory(values, t, sample.tokens);
    tell(values, course, t, sample.tokens);
  };
  const channel = choice('channel', CHANNELS, show);
  byId<HTMLSelectElement>('channel').value = '474';
  const all = slider('all', power, show);
  const token = slider('token', value => `${value}, “${sample.tokens[value].trim()}”`, show);
  const one = slider('one', power, show);
  for (const [id, step] of [
    ['previous', -1],
    ['next', 1],
  ] as const)
    byId(id).addEventListener('click', () => {
      const input = byId<HTMLInputElement>('token');
      input.valueAsNumber += step;
      input.dispatchEvent(new Event('input'));
    });
  show();
}

function drawSignal({ u }: Channel, { y }: Course, t: number): void {
  const lines = Object.entries({ u, y }).flatMap(([name, values]) =>
    [...values].map((value, token) => ({ name, value, token })),
  );
  draw(
    byId('signal'),
    {
      alt: `Line plot of u and y over ${LENGTH} tokens; at token ${t} u is ${number(u[t])} and y ${number(y[t])}.`,
      caption: 'What goes into the channel, u, and what comes out, y.',
    },
    () => ({
      height: 240,
      color: { domain: ['u', 'y'], range: [SERIES[1], SERIES[0]], legend: true },
      x: { label: 'token' },
      y: { label: 'value', grid: true },
      marks: [
        Plot.ruleX([t], { stroke: colour('quiet'), strokeDasharray: '4 3' }),
        Plot.line(lines, { x: 'token', y: 'value', stroke: 'name', strokeWidth: 2 }),
        Plot.dot(
          lines.filter(({ token }) => token === t),
          { x: 'token', y: 'value', fill: 'name', r: 4 },
        ),
      ],
    }),
  );
}

function drawSteps({ dt }: Channel, t: number): void {
  const bars = [...dt].map((value, token) => ({ value, token }));
  draw(
    byId('steps'),
    {
      alt: `Bars of Δ over ${LENGTH} tokens, between ${number(Math.min(...dt))} and ${number(Math.max(...dt))}; at token ${t} it is ${number(dt[t])}.`,
      caption: 'Δ of each token, made from the token itself. The chosen one is orange.',
    },
    () => ({
      height: 266,
      marginLeft: 50,
      x: { label: 'token', ticks: [0, 10, 20, 30, 40] },
      y: { label: 'Δ', grid: true, nice: true },
      marks: [
        Plot.rectY(bars, {
          x1: d => d.token - 0.4,
          x2: d => d.token + 0.4,
          y: 'value',
          fill: d => (d.token === t ? SERIES[1] : SERIES[0]),
        }),
        Plot.ruleY([0]),
      ],
    }),
  );
}

function drawStates({ states }: Course, marked: number): void {
  const n = states[0].length;
  const values = new Float32Array(n * LENGTH);
  for (let t = 0; t < LENGTH; t++) values.set(states[t + 1], t * n);
  const most = absmax(values);
  heatmap(
    byId('states'),
    { values, rows: n, columns: LENGTH, rowStride: 1, columnStride: n, rowHeight: 12, most, marked },
    {
      alt: `Heat map of the ${n} states over ${LENGTH} tokens; the largest |h| is ${number(most)}.`,
      caption:
        'A row is one of the 16 numbers, from left to right over the tokens. A stripe is a memory; where it ends, it was forgotten. The frame is the token chosen.',
      x: `token, 0 … ${LENGTH - 1}`,
      y: `the state h: n, 0 … ${n - 1} from top to bottom`,
    },
  );
}

function drawMemory(values: Channel, t: number, tokens: readonly string[]): void {
  const share = [...shareOf(values, t)].slice(t).map((value, i) => ({ value, token: t + i }));
  draw(
    byId('memory'),
    {
      alt: `What token ${t} alone adds to y of itself, ${number(share[0].value)}, and of the tokens after it, at the end ${number(share.at(-1)!.value)}.`,
      caption: `What “${tokens[t].trim()}” alone adds to y, of itself and of every later token: the scan is linear in u.`,
    },
    () => ({
      height: 240,
      marginLeft: 50,
      x: { label: 'token', domain: [0, LENGTH - 1] },
      y: { label: 'part of y', grid: true, zero: true },
      marks: [
        Plot.ruleY([0]),
        Plot.areaY(share, { x: 'token', y: 'value', fill: SERIES[2], fillOpacity: 0.25 }),
        Plot.line(share, { x: 'token', y: 'value', stroke: SERIES[2], strokeWidth: 2 }),
        Plot.dot(share.slice(0, 1), { x: 'token', y: 'value', fill: SERIES[2], r: 4 }),
      ],
    }),
  );
}

function tell(
  { u, dt, A, B, C }: Channel,
  { y, states }: Course,
  t: number,
  tokens: readonly string[],
): void {
  const kept = A.map(a => Math.exp(dt[t] * a));
  const mean = kept.reduce((sum, v) => sum + v, 0) / kept.length;
  byId('said').textContent =
    `Token ${t}, “${tokens[t].trim()}”: u = ${number(u[t])}, Δ = ${number(dt[t])}. Of the old state ${percent(mean)} stays on average over the 16 numbers, ` +
    `from ${percent(Math.min(...kept))} to ${percent(Math.max(...kept))}. y = ${number(y[t])}.`;
  showWords(tokens.slice(0, LENGTH), t);
  fillTable(byId('numbers'), [
    ['state', 'A', 'decay exp(ΔA)', 'h before', 'input ΔBu', 'h after', 'C', 'C·h'],
    ...SHOWN_STATES.map(s => [
      `${s}`,
      ...[
        A[s],
        kept[s],
        states[t][s],
        dt[t] * u[t] * B[t][s],
        states[t + 1][s],
        C[t][s],
        C[t][s] * states[t + 1][s],
      ].map(v => number(v)),
    ]),
  ]);
}

void showSources({ 'src/ops/selective-scan.ts': source });
void part(async () => {
  const sample = await fetchSample();
  for (const span of document.querySelectorAll('.layer')) span.textContent = `${sample.layer}`;
  live(sample);
});
