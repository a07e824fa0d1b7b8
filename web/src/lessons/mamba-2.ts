import { parseConfig } from 'lib/model/index.ts';
import { absmax } from 'lib/ops/absmax-scale.ts';
import { fetchFiles } from 'quamba';
import gatedRmsNorm from '../../../src/ops/gated-rms-norm.ts?raw';
import ssdScan from '../../../src/ops/ssd-scan.ts?raw';
import { byId } from '../dom.ts';
import { heatmap } from '../heatmap.ts';
import { MODELS } from '../model.ts';
import { megabytes, number, percent } from '../numbers.ts';
import { colour, draw, Plot, SERIES } from '../plots.ts';
import { ask } from '../remote.ts';
import { SITE } from '../site.ts';
import { fillTable } from '../table.ts';
import { type At, type gateOf, PLACES, type Place } from './gate.ts';
import type { GateWorker } from './gate-worker.ts';
import { drawGroups, type Layout } from './head-groups.ts';
import { choice, part, showSources, showWords, slider } from './lesson.ts';
import { fetchSsdSample, type SsdSample } from './sample.ts';
import { courseOf, decaysOf, type Heads, headOf, headsOf, leftOf, stepsOf } from './ssd.ts';
import { type StateSizes, stateSizes } from './state-sizes.ts';

const LENGTH = 48;

/** One decay a head: whose state lives how long. */
function decays(sample: SsdSample): void {
  const { tokens } = sample;
  const heads = sample.D.data.length;
  const layout = { heads, headDim: sample.x.shape[1] / heads, stateSize: sample.B.shape[1] };
  const show = () => {
    const [t, chosen] = [token(), Number(head())];
    const all = headsOf(sample, LENGTH, i => added() + (i === t ? one() : 0));
    drawGroups(layout, Number(groups()), chosen);
    drawDecays(all, t);
    drawLeft(all, t, chosen, tokens);
    const { states } = courseOf(headOf(all, chosen));
    const most = Math.max(...states.map(({ data }) => absmax(data)));
    drawState(states[t].data, layout, { t, chosen, most, word: tokens[t] });
    tell(all, t, chosen, tokens);
    showWords(tokens.slice(0, LENGTH), t);
  };
  const signed = (value: number) => (value > 0 ? `+${number(value)}` : number(value));
  const numbered = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [i, `${i}`]));
  const head = choice('head', numbered(heads), show);
  const groups = choice('group-count', dividers(heads), show);
  const token = slider('token', value => `${value}, “${tokens[value].trim()}”`, show);
  const added = slider('all', signed, show);
  const one = slider('one', signed, show);
  show();
}

const dividers = (n: number): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Array.from({ length: n }, (_, i) => i + 1).flatMap(g => (n % g === 0 ? [[g, `${g}`]] : [])),
  );

function drawDecays(all: Heads, marked: number): void {
  const { shape, data: values } = decaysOf(all);
  const [columns, rows] = shape;
  heatmap(
    byId('decays'),
    { values, rows, columns, rowStride: 1, columnStride: rows, rowHeight: 18, most: 1, marked },
    {
      alt: `Heat map of the decay of ${rows} heads over ${columns} tokens, from ${number(values.reduce((a, b) => Math.min(a, b)))} to ${number(values.reduce((a, b) => Math.max(a, b)))}.`,
      caption: `All the decays that this block computes for ${columns} tokens: one number for each head and token. Full colour is 1, nothing is forgotten; paper is 0. The frame is the token chosen.`,
      x: `token, 0 … ${columns - 1}`,
      y: `exp(ΔA): a row for each head, 0 … ${rows - 1} from top to bottom`,
    },
  );
}

function drawLeft(all: Heads, t: number, chosen: number, tokens: readonly string[]): void {
  const heads = all.D.length;
  const left = leftOf(decaysOf(all), t);
  const lines = Array.from({ length: LENGTH - t }, (_, i) => i + t).flatMap(token =>
    Array.from({ length: heads }, (_, head) => ({ token, head, left: left[token * heads + head] })),
  );
  const own = lines.filter(({ head }) => head === chosen);
  draw(
    byId('left'),
    {
      alt: `What is left of what token ${t} wrote, for each head over the tokens after it. Of head ${chosen}: ${percent(own.at(-1)!.left)} after the last.`,
      caption: `How much is left of what “${tokens[t].trim()}” wrote into the state. Orange: head ${chosen}, the same for all its ${all.x.shape[1] / heads} channels and ${all.B.shape[1]} states. Grey: the other heads.`,
    },
    () => ({
      height: 240,
      marginLeft: 50,
      x: { label: 'token', domain: [0, LENGTH - 1] },
      y: { label: 'share that is left', grid: true, domain: [0, 1] },
      marks: [
        Plot.line(lines, { x: 'token', y: 'left', z: 'head', stroke: colour('quiet'), strokeOpacity: 0.5 }),
        Plot.line(own, { x: 'token', y: 'left', stroke: SERIES[1], strokeWidth: 3 }),
        Plot.dot(own.slice(0, 1), { x: 'token', y: 'left', fill: SERIES[1], r: 4 }),
      ],
    }),
  );
}

function drawState(
  values: Float32Array,
  { headDim, stateSize }: Layout,
  {
    t,
    chosen,
    most,
    word,
  }: { readonly t: number; readonly chosen: number; readonly most: number; readonly word: string },
): void {
  heatmap(
    byId('state'),
    { values, rows: stateSize, columns: headDim, rowHeight: 2, most, power: 0.5 },
    {
      alt: `The state of head ${chosen} after token ${t}: ${stateSize} by ${headDim} numbers, the largest ${number(absmax(values))}.`,
      caption: `S of head ${chosen} after “${word.trim()}”, in colours of its largest value in the text. The next token multiplies the whole picture by one number, and adds B ⊗ Δx.`,
      x: `channel of the head, 0 … ${headDim - 1}`,
      y: `the state S: n, 0 … ${stateSize - 1} from top to bottom`,
    },
  );
}

function tell(all: Heads, t: number, chosen: number, tokens: readonly string[]): void {
  const [h, p, n] = [all.D.length, all.x.shape[1] / all.D.length, all.B.shape[1]];
  const [step, decay] = [stepsOf(all), decaysOf(all)].map(({ data }) => data[t * h + chosen]);
  byId('said').textContent =
    `Token ${t}, “${tokens[t].trim()}”, head ${chosen}: Δ = ${number(step)}, A = ${number(all.A.data[chosen])}, exp(ΔA) = ${number(decay)}. ` +
    `One exp, and ${percent(decay)} stays of each of the ${(p * n).toLocaleString('en')} numbers of this head.`;
}

/** Of both models, from their graphs. */
async function sizes(): Promise<void> {
  const [one, two] = await Promise.all(
    ['mamba-books-15m', 'mamba2-books-15m'].map(async name => {
      const folder = new URL(MODELS[name].folder, SITE);
      const { 'config.json': bytes } = await fetchFiles(folder, ['config.json'], { cache: false });
      return stateSizes(parseConfig(JSON.parse(new TextDecoder().decode(bytes)), `${name}/config.json`));
    }),
  );
  const whole = (value: number) => value.toLocaleString('en');
  const row = (name: string, of: (sizes: StateSizes) => string) => [name, of(one), of(two)];
  fillTable(byId('sizes'), [
    ['', 'Mamba', 'Mamba-2'],
    row('layers', s => whole(s.layers)),
    row('channels of a layer', s => whole(s.channels)),
    row('states n of a channel', s => whole(s.stateSize)),
    row('decays of a layer', s => whole(s.decays)),
    row('exps of decays for a token', s => whole(s.layers * s.decays)),
    row('state numbers that share a decay', s => whole((s.channels * s.stateSize) / s.decays)),
    row('SSM state of a layer, bytes', s => whole(s.ssmBytes)),
    row('past of the convolution of a layer, bytes', s => whole(s.convBytes)),
    row('state of a text, MB', s => number((s.layers * (s.ssmBytes + s.convBytes)) / 1e6)),
  ]);
  const bytes = ({ layers, ssmBytes }: StateSizes) => layers * ssmBytes;
  byId('sizes-said').textContent =
    `The state of Mamba-2 is ${number(bytes(two) / bytes(one))} times larger, ${megabytes(bytes(two))} MB instead of ${megabytes(bytes(one))}, and all of it is read and written for every token. Its decays are ${whole(one.decays / two.decays)} times fewer.`;
}

const WORDS: Readonly<Record<Place, { readonly title: string; readonly caption: string }>> = {
  y: { title: 'y as the scan wrote it', caption: 'A few tokens and channels have all the colour.' },
  gated: {
    title: 'gated and normed',
    caption:
      'The loudest tokens are no louder than others now, but in each of them a few channels have all the colour.',
  },
  rotated: {
    title: 'normed and rotated',
    caption:
      'Without the norm’s weight, which is in out_proj now: every token and channel uses the range alike.',
  },
};
const COLOURS: Readonly<Record<Place, string>> = { y: SERIES[1], gated: SERIES[2], rotated: SERIES[0] };
const TITLES = PLACES.map(place => WORDS[place].title);
const RANGE = PLACES.map(place => COLOURS[place]);

function outliers({ x: { shape } }: SsdSample, found: ReturnType<typeof gateOf>): void {
  const [rows, columns] = shape;
  for (const place of PLACES) {
    const { values, spread } = found[place];
    const { title, caption } = WORDS[place];
    heatmap(
      byId(`map-${place}`),
      { values, rows, columns, rowHeight: 3, most: spread.max },
      {
        alt: `Heat map of ${rows} tokens by ${columns} channels, ${title}; the largest value is ${number(spread.max)}, the root mean square ${number(spread.rms)}.`,
        caption,
        x: `channel, 0 … ${columns - 1}`,
        y: `${title}: a row for each token`,
      },
    );
  }
  const row = (name: string, of: (at: At) => string) => [name, ...PLACES.map(place => of(found[place]))];
  fillTable(byId('spread'), [
    ['', ...TITLES],
    row('largest |value|', ({ spread }) => number(spread.max)),
    row('root mean square', ({ spread }) => number(spread.rms)),
    row('kurtosis', ({ spread }) => number(spread.kurtosis)),
    row('length of a token / √d, least', ({ lengths }) => number(Math.min(...lengths))),
    row('and greatest', ({ lengths }) => number(Math.max(...lengths))),
    row('step of the int8 grid', ({ spread }) => number(spread.scales[0])),
    row('values that int8 rounds to 0', ({ spread }) => percent(spread.zeros)),
    row('error of out_proj, int8 here', ({ error }) => percent(error)),
  ]);
  perToken('lengths', found, {
    of: ({ lengths }) => lengths,
    label: 'length / √d',
    alt: `The length of each token divided by √${columns}: of the rotated values between ${number(Math.min(...found.rotated.lengths), 4)} and ${number(Math.max(...found.rotated.lengths), 4)}.`,
    caption: `The length of each token’s ${columns} values, divided by √${columns}. The norm makes it 1, and its weight something else again. Rotated, the values are without the weight, and a rotation keeps lengths.`,
  });
  perToken('errors', found, {
    of: ({ errors }) => errors.map(error => 100 * error),
    label: 'error of out_proj, %',
    alt: `Relative error of out_proj by token, where int8 is: ${PLACES.map(place => `${WORDS[place].title} ${percent(found[place].error)}`).join(', ')}.`,
    caption: `‖int8 − float‖ / ‖float‖ of 64 outputs of out_proj, with one int8 scale at one place and all else in float. Over all tokens: ${PLACES.map(place => `${WORDS[place].title} ${percent(found[place].error)}`).join(', ')}.`,
  });
}

interface PerToken {
  readonly of: (at: At) => readonly number[];
  readonly label: string;
  readonly alt: string;
  readonly caption: string;
}

function perToken(id: string, found: ReturnType<typeof gateOf>, { of, label, alt, caption }: PerToken): void {
  const dots = PLACES.flatMap(place =>
    of(found[place]).map((value, token) => ({ place: WORDS[place].title, token, value })),
  );
  draw(byId(id), { alt, caption }, () => ({
    height: 280,
    marginLeft: 50,
    color: { domain: TITLES, range: RANGE, legend: true },
    x: { label: 'token' },
    y: { type: 'log', label, grid: true, tickFormat: (d: number) => `${d}`, ticks: 5 },
    marks: [Plot.line(dots, { x: 'token', y: 'value', stroke: 'place', strokeWidth: 2 })],
  }));
}

void showSources({ 'src/ops/ssd-scan.ts': ssdScan, 'src/ops/gated-rms-norm.ts': gatedRmsNorm });
void part(async () => {
  const sample = await fetchSsdSample();
  for (const span of document.querySelectorAll('.layer')) span.textContent = `${sample.layer}`;
  decays(sample);
  await sizes();
  const worker = new Worker(new URL('./gate-worker.ts', import.meta.url), { type: 'module' });
  outliers(sample, await ask<GateWorker, ReturnType<typeof gateOf>>(worker, api => api.gate(sample)));
});
