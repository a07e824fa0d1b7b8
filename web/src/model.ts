/** The model that comes with the site. */
import { SITE } from './header.ts';

export const MODEL = new URL('model/', SITE);

/** What each recipe needs of it. Only quamba comes as a ready plan: 18.5 MB; the rest are made of the float weights, 29.8 MB. */
export const filesOf = (recipe: string): readonly string[] => [
  'config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  ...(recipe === 'quamba'
    ? ['plan.quamba.safetensors']
    : ['model.safetensors', ...(STATIC.includes(recipe) ? [`stats.${recipe}.safetensors`] : [])]),
];

/** Recipes whose static scales come with the model. */
const STATIC: readonly string[] = [
  'naive-static',
  'smoothquant',
  'quarot-style',
  'percentile-only',
  'hadamard-only',
  'quamba-rows',
  'quamba-channels',
  'quamba-rotated',
  'quamba-clipped',
  'quamba-plus',
  'quamba-f16-state',
  'quamba-int8-state',
  'quamba-int8-head',
  'w4a8-rtn',
];

/** What the pages offer: each with what it does, in a few words. */
export const RECIPES: Readonly<Record<string, string>> = {
  quamba: 'Quamba: clipped u, rotated y, int8',
  fp32: 'float32, nothing quantized',
  'naive-static': 'int8, one scale a tensor, nothing else',
  'percentile-only': 'int8 with clipped u',
  'hadamard-only': 'int8 with rotated y',
  'quamba-plus': 'Quamba with finer scales',
  'dynamic-rotated-rows': 'int8 with scales for each token, rotated y',
  smoothquant: 'SmoothQuant',
  'quarot-style': 'QuaRot-style rotations',
  'w4a8-rtn': '4-bit weights',
};
