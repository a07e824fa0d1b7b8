/** The models that come with the site (web/models.json), and what each recipe needs of them. */
import { fileOf } from 'lib/open/files.ts';
import models from '../models.json' with { type: 'json' };

export interface PageModel {
  /** Where its files are, beside the pages. */
  readonly folder: string;
  /** Its family, as config.json calls it. */
  readonly modelType: string;
  /** In a few words. */
  readonly about: string;
  /** What the pages offer, the one that they begin with first. */
  readonly recipes: readonly string[];
  /** Of these, those whose static scales are files of the folder. */
  readonly static: readonly string[];
  /** The only ready plan; all other recipes are made of the float weights. */
  readonly ready?: string;
  /** Of the JSON files that each recipe needs, and of the weights; a server that compresses does not say them. */
  readonly bytes: { readonly json: number; readonly float: number; readonly ready?: number };
}

export const MODELS: Readonly<Record<string, PageModel>> = models;

const JSON_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];
/** Of the float model alone. */
export const FLOAT_FILES: readonly string[] = [...JSON_FILES, 'model.safetensors'];

/** What a recipe needs. */
export const filesOf = (model: PageModel, recipe: string): readonly string[] =>
  recipe === model.ready
    ? [...JSON_FILES, fileOf('plan', recipe)]
    : [...FLOAT_FILES, ...(model.static.includes(recipe) ? [statsOf(recipe)] : [])];

/** The file of a recipe's static scales. */
export const statsOf = (recipe: string): string => fileOf('stats', recipe);

/** Of the largest file that a recipe needs. */
export const weightBytes = ({ ready, bytes }: PageModel, recipe: string): number =>
  recipe === ready ? bytes.ready! : bytes.float;

/** What each recipe does, in a few words. */
export const RECIPES: Readonly<Record<string, string>> = {
  quamba: 'Quamba: clipped scan input, rotated scan output, int8',
  fp32: 'float32, nothing quantized',
  'naive-static': 'int8, one scale a tensor, nothing else',
  'percentile-only': 'int8 with a clipped scan input',
  'hadamard-only': 'int8 with a rotated scan output',
  'quamba-plus': 'Quamba with finer scales',
  'quamba-ssd': 'Quamba for Mamba-2: scales for each channel',
  'dynamic-rotated-rows': 'int8 with scales for each token, rotated scan output',
  smoothquant: 'SmoothQuant',
  'quarot-style': 'QuaRot-style rotations',
  'w4a8-rtn': '4-bit weights',
};
