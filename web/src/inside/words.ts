/** What the sites are called on this page, and what a recipe does there, in words. */
import { type SiteAction, siteAction, weightScheme } from 'lib/quant/scheme.ts';
import { type Recipe, recipe as recipeOf, type Site } from 'quamba';

interface SiteWords {
  readonly symbol: string;
  readonly about: string;
}
type WordsOfSites = { readonly [S in Site]?: SiteWords };

/** What the families have in common. */
const COMMON = {
  blockIn: { symbol: 'norm(h)', about: 'the normed residual stream, which in_proj reads' },
  B: { symbol: 'B', about: 'how each token is written into the state' },
  C: { symbol: 'C', about: 'how each token reads the state' },
  headIn: {
    symbol: 'norm_f(h)',
    about: 'the normed residual stream after the last layer, which the head reads',
  },
} as const;

/** By family, as config.json calls it. */
const SITES: Readonly<Record<string, WordsOfSites>> = {
  mamba: {
    ...COMMON,
    convIn: { symbol: 'x', about: "in_proj's first half, which the convolution reads" },
    gate: { symbol: 'z', about: "in_proj's second half, which gates what the scan writes" },
    scanIn: { symbol: 'u', about: 'SiLU of the convolution, which x_proj and the scan read' },
    dtLow: { symbol: 'dt', about: 'the low-rank part of dt, which dt_proj reads' },
    dt: { symbol: 'Δ', about: 'the step of each channel, before softplus' },
    scanOut: { symbol: 'y', about: 'what the scan writes, gated by SiLU(z), which out_proj reads' },
  },
  mamba2: {
    ...COMMON,
    gate: { symbol: 'z', about: 'the part of in_proj that gates what the scan writes, before the norm' },
    convIn: { symbol: 'xBC', about: "in_proj's x, B and C side by side, which one convolution reads" },
    dt: { symbol: 'dt', about: 'the step of each head, before its bias and softplus' },
    scanIn: { symbol: 'x', about: 'SiLU of the convolution, which the scan reads' },
    scanOut: {
      symbol: 'g',
      about: 'what the scan writes, gated by SiLU(z) and normed, which out_proj reads',
    },
  },
};

/** The sites of a family, with their words. */
export const sitesOf = (modelType: string): WordsOfSites => SITES[modelType];

/** Marks beside a site's symbol. */
export const MARKS = {
  H: 'rotated by a Hadamard matrix',
  s: 'smoothed: channels divided by SmoothQuant’s factors',
  c: 'a step for each channel',
  p: 'clipped at a percentile',
  t: 'a step for each token',
} as const;
export type Mark = keyof typeof MARKS;

export const actionAt = (name: string, site: Site): SiteAction => siteAction(recipeOf(name) as Recipe, site);

/** In what a recipe keeps the weights of a role: `int8`; undefined for float32. */
export function weightsAt(name: string, role = ''): string | undefined {
  const scheme = weightScheme(recipeOf(name), role);
  return scheme && `int${scheme.bits}`;
}

export function marksOf({ basis, quantize }: SiteAction): readonly Mark[] {
  const marks: Mark[] = [];
  if (basis === 'hadamard') marks.push('H');
  if (typeof basis === 'object') marks.push('s');
  if (basis === 'channels') marks.push('c');
  if (typeof quantize?.range === 'object') marks.push('p');
  if (quantize?.when === 'dynamic') marks.push('t');
  return marks;
}

/** "int8, clipped at a percentile" */
export const inWords = (action: SiteAction): string =>
  [action.quantize ? 'int8' : 'float32', ...marksOf(action).map(mark => MARKS[mark])].join(', ');
