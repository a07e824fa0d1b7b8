/** The model that comes with the site, by recipe. */
import { fileOf } from 'lib/open/files.ts';

/** The only ready plan; all other recipes are made of the float weights. */
const READY = 'quamba';
const JSON_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];
/** Of the float model alone. */
export const FLOAT_FILES: readonly string[] = [...JSON_FILES, 'model.safetensors'];

/** What a recipe needs. */
export const filesOf = (recipe: string): readonly string[] =>
  recipe === READY
    ? [...JSON_FILES, fileOf('plan', READY)]
    : [...FLOAT_FILES, ...(STATIC.includes(recipe) ? [statsOf(recipe)] : [])];

/** The file of a recipe's static scales. */
export const statsOf = (recipe: string): string => fileOf('stats', recipe);

/** Of the largest file that a recipe needs; a server that compresses does not say it. */
export const weightBytes = (recipe: string): number => (recipe === READY ? 18_512_944 : 29_806_304);
/** Of the files that each recipe needs beside it. */
export const JSON_BYTES = 549_896;

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
