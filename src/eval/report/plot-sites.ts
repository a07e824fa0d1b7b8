/** Which activation costs what: bars of KL divergence. */
import type { Sensitivity, SiteRow } from '../sensitivity.ts';
import { type Box, xAxis } from './axes.ts';
import { linear } from './scale.ts';
import { element, line, type Plot, rect, text, tip, WIDTH } from './svg.ts';
import { number } from './words.ts';

const BAR = 15;
const ROW = 23;

/** What the model file calls a site, in the letters of the paper. */
// biome-ignore format: a table
const LETTERS: Readonly<Record<string, string>> = {
  blockIn: 'norm(h)', convIn: 'x', gate: 'z', scanIn: 'u', dtLow: 'dt, low', B: 'B', C: 'C', dt: 'dt', scanOut: 'y',
};
/** Where a family's letters are others: Mamba-2's convolution mixes x, B and C, and out_proj reads a norm. */
const OF_FAMILY: Readonly<Record<string, typeof LETTERS>> = {
  mamba2: { ...LETTERS, convIn: 'xBC', scanIn: 'x', scanOut: 'norm(y · z)' },
};
const HOW = { absmax: '', clipped: ', clipped', rotated: ', rotated', paper: '' } as const;
/** @param architecture of the model; Mamba-1's letters where it is not known. */
export const siteWords = ({ kind, site: word, how }: SiteRow, architecture = ''): string => {
  const site: string = word ?? '';
  const letter = (OF_FAMILY[architecture] ?? LETTERS)[site] ?? site;
  const said = `${letter}${kind === 'only' ? HOW[how] : ''}`;
  const name = said === site ? site : `${site} (${said})`;
  return { weights: 'weights only', only: name, 'all-but': `all but ${name}`, all: 'all' }[kind];
};

export function sitesPlot({ rows, predictions, p }: Sensitivity, architecture?: string): Plot | undefined {
  const words = (row: SiteRow) => siteWords(row, architecture);
  const only = rows.filter(({ kind }) => kind === 'only' || kind === 'weights');
  const but = rows.filter(({ kind }) => kind === 'all-but' || kind === 'all');
  if (only.length === 0 || but.length === 0) return undefined;
  const width = (WIDTH - 30) / 2;
  const all = but.find(({ kind }) => kind === 'all');
  const most = only.reduce((a, b) => (b.kl > a.kl ? b : a));
  const one = only.toSorted((a, b) => b.kl - a.kl);
  return {
    id: 'sites',
    title: 'Which activation costs what',
    subtitle: `KL divergence from the float model, nats, over ${predictions.toLocaleString('en-US')} predictions; u clipped at p = ${p}.`,
    description: `Most costs ${words(most)}: KL ${number(most.kl)} nats. ${all ? `All together: ${number(all.kl)} nats.` : ''}`,
    height: 92 + ROW * Math.max(only.length, but.length) + 48,
    body: [
      bars('one site in int8, weights float', one, words, undefined, 0, width),
      bars('all in int8 but one, as the paper has it', but, words, all, width + 30, width),
    ],
  };
}

type Rows = readonly SiteRow[];
type Words = (row: SiteRow) => string;
function bars(
  title: string,
  rows: Rows,
  words: Words,
  reference: SiteRow | undefined,
  left: number,
  width: number,
) {
  const box: Box = { left: left + 138, top: 78, right: left + width - 58, bottom: 82 + ROW * rows.length };
  const costs = rows.map(({ kl }) => kl);
  const x = linear(costs, [box.left, box.right], { zero: true, count: 3 });
  const colourOf = ({ kind, how }: SiteRow): number =>
    kind === 'weights' || kind === 'all' ? 6 : kind === 'all-but' ? 0 : how === 'absmax' ? 1 : 2;
  return [
    text(left + 2, 60, title, { class: 'sub' }),
    xAxis(box, x, 'KL, nats', kl => `${Number(kl.toPrecision(3))}`),
    ...rows.map((row, i) => {
      const y = box.top + 4 + i * ROW;
      const name = words(row).replace('all but ', 'but ');
      const says = `${words(row)}: KL ${number(row.kl)} nats, perplexity ${(100 * row.change).toFixed(2)} %`;
      const end = Math.max(x(row.kl), reference ? x(reference.kl) : 0);
      return [
        text(box.left - 8, y + 12, name, { anchor: 'end', class: 'small' }),
        rect(box.left, y, x(row.kl) - box.left, BAR, { class: `f${colourOf(row)}` }),
        // short bars are hard to meet: an invisible strip as wide as the axis says what the bar is
        element('g', {}, tip(says), rect(box.left, y, box.right - box.left, BAR, { opacity: 0 })),
        text(end + 6, y + 12, number(row.kl), { class: 'soft small halo' }),
      ].join('');
    }),
    reference ? line(x(reference.kl), box.top, x(reference.kl), box.bottom, { class: 'ref' }) : '',
  ].join('');
}
