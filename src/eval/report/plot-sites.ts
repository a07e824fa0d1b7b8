/** Which activation costs what: bars of KL divergence. */
import type { Sensitivity, SiteRow } from '../sensitivity.ts';
import { bars, ROW } from './bars.ts';
import { type Plot, WIDTH } from './svg.ts';
import { number } from './words.ts';

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
      half('one site in int8, weights float', one, words, 0, width),
      half('all in int8 but one, as the paper has it', but, words, width + 30, width, all),
    ],
  };
}

/** A half of the picture. */
function half(
  title: string,
  rows: readonly SiteRow[],
  words: (row: SiteRow) => string,
  left: number,
  width: number,
  all?: SiteRow,
): string {
  const colourOf = ({ kind, how }: SiteRow): number =>
    kind === 'weights' || kind === 'all' ? 6 : kind === 'all-but' ? 0 : how === 'absmax' ? 1 : 2;
  const items = rows.map(row => ({
    name: words(row).replace('all but ', 'but '),
    kl: row.kl,
    says: `${words(row)}: KL ${number(row.kl)} nats, perplexity ${(100 * row.change).toFixed(2)} %`,
    colour: colourOf(row),
  }));
  return bars(title, items, { left, width, names: 138 }, all?.kl);
}
