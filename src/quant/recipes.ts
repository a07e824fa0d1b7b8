/**
 * THE TABLE. A recipe is a row; read down a column and you read the ablation, across a row and you read the method.
 * No other file asks for a recipe's name.
 */
import { didYouMean } from '../formats/nearest.ts';
import {
  a8,
  a8dynamic,
  channels,
  clip,
  f16,
  hadamard,
  i8,
  i8dynamic,
  type Recipe,
  smooth,
  w4,
  w4nearest,
  w8,
  w8rows,
} from './scheme.ts';

const scanIn = clip(0.99999);
const residual = 'hadamard';
/** What goes with weights of 4 bits: the sites of `quamba-plus`; small matrices, embedding and head in 8 bits by row. */
const a4 = { ...a8, ...scanIn } as const;
const at4 = { scanIn: { ...clip(0.9999), ...channels }, scanOut: hadamard, headIn: a8 } as const;
/** The small matrices that Mamba-2 does not have. */
const small = ['xProj', 'dtProj'] as const;
const beside4 = { conv: w8rows, xProj: w8rows, dtProj: w8rows, embedding: w8rows, head: w8rows } as const;

/** A scale of its own for each channel of what in_proj gives and of what the SSD scan reads: free, because the scan is f32 inside. */
const ssd = {
  gate: channels,
  convIn: channels,
  dt: channels,
  scanIn: channels,
  B: channels,
  C: channels,
  scanOut: hadamard,
} as const;
/** Keys and values in int8, with a step for each token and head. */
const int8Cache = { keyCache: i8dynamic, valueCache: i8dynamic } as const;
const cache = ['keyCache', 'valueCache'] as const;
/** Of a hybrid, the layers that attend and those that feed them. */
const aroundAttention = { attention: w8rows, beforeAttention: w8rows } as const;
const int8Head = { embedding: w8rows, head: w8rows } as const;

/* biome-ignore format: a table */
export const recipes = {
  'fp32':             {},
  'naive-static':     { weights: w8, acts: a8 },
  'dynamic':          { weights: w8, acts: a8dynamic },
  'dynamic-rotated':  { weights: w8, acts: a8dynamic, at: { scanOut: hadamard } },
  'dynamic-rotated-rows': { weights: w8rows, acts: a8dynamic, at: { scanOut: hadamard } },
  'smoothquant':      { weights: w8, acts: a8, at: { blockIn: smooth(0.5), scanIn: smooth(0.5), dtLow: smooth(0.5), scanOut: smooth(0.5) }, optional: ['dtLow'] },
  'quarot-style':     { weights: w8, acts: a8, at: { blockIn: hadamard, scanIn: hadamard, scanOut: hadamard } },
  'percentile-only':  { weights: w8, acts: a8, at: { scanIn } },
  'hadamard-only':    { weights: w8, acts: a8, at: { scanOut: hadamard } },
  'quamba':           { weights: w8, acts: a8, at: { scanIn, scanOut: hadamard } },
  'quamba-rows':      { weights: w8rows, acts: a8, at: { scanIn, scanOut: hadamard } },
  'quamba-channels':  { weights: w8, acts: a8, at: { scanIn: { ...scanIn, ...channels }, scanOut: hadamard } },
  'quamba-rotated':   { weights: w8, acts: a8, at: { scanIn, scanOut: hadamard }, residual },
  'quamba-clipped':   { weights: w8, acts: { ...a8, ...scanIn }, at: { scanIn, scanOut: hadamard } },
  'quamba-plus':      { weights: w8rows, acts: { ...a8, ...scanIn }, at: { scanIn: { ...scanIn, ...channels }, scanOut: hadamard }, residual },
  'quamba-f16-state': { weights: w8, acts: a8, at: { scanIn, scanOut: hadamard }, states: { ssmState: f16 } },
  'quamba-int8-state': { weights: w8, acts: a8, at: { scanIn, scanOut: hadamard }, states: { ssmState: i8 } },
  'quamba-int8-state-dynamic': { weights: w8, acts: a8, at: { scanIn, scanOut: hadamard }, states: { ssmState: i8dynamic } },
  'quamba-int8-head': { weights: w8, acts: a8, at: { scanIn, scanOut: hadamard, headIn: a8 }, weightsAt: int8Head },
  'quamba-ssd':       { weights: w8rows, acts: a8, at: ssd, residual },
  'quamba-ssd-int8-head': { weights: w8rows, acts: a8, at: { ...ssd, headIn: a8 }, weightsAt: int8Head, residual },
  'quamba-ssd-int8-kv': { weights: w8rows, acts: a8, at: ssd, residual, states: int8Cache, optional: cache },
  'w4a8-rtn':         { weights: w4nearest, acts: a4, at: at4, weightsAt: beside4, residual, optional: small },
  'w4a8':             { weights: w4, acts: a4, at: at4, weightsAt: beside4, residual, optional: small },
  'w4a16-rtn':        { weights: w4nearest, weightsAt: beside4, optional: small },
  'w4a16':            { weights: w4, weightsAt: beside4, optional: small },
  'w4a8-ssd':         { weights: w4, acts: a8, at: { ...ssd, headIn: a8 }, weightsAt: beside4, residual, optional: small },
  'w4a8-ssd-mixed':   { weights: w4, weightsIn: aroundAttention, acts: a8, at: { ...ssd, headIn: a8 }, weightsAt: beside4, residual, optional: small },
} as const satisfies Record<string, Recipe>;

export type RecipeName = keyof typeof recipes;
/** How a model runs where no recipe is named: as the first where its plan or statistics are at hand, else as the second. */
export const DEFAULT_RECIPE: RecipeName = 'quamba';
export const FLOAT_RECIPE: RecipeName = 'fp32';

/** The row that was made for Mamba-2. */
export const MAMBA2_RECIPE: RecipeName = 'quamba-ssd';
/** Rows that differ in what only Mamba-2 has: a norm's weight that is folded, channels everywhere, an int8 state of three axes. */
export const recipesOfMamba2: readonly RecipeName[] = [
  FLOAT_RECIPE,
  DEFAULT_RECIPE,
  MAMBA2_RECIPE,
  'dynamic',
  'quamba-int8-state',
  'quamba-int8-state-dynamic',
];

/** The row that was made for hybrids: keys and values in int8 too. */
export const HYBRID_RECIPE: RecipeName = 'quamba-ssd-int8-kv';
/** Rows that differ in what only hybrids have: keys and values in int8, layers around attention in 8 bits. */
export const recipesOfHybrids: readonly RecipeName[] = [
  FLOAT_RECIPE,
  MAMBA2_RECIPE,
  HYBRID_RECIPE,
  'dynamic',
  'w4a8-ssd-mixed',
];

/** @throws RangeError listing the rows, where there is none of this name. */
export function recipe(name: string): Recipe {
  if (!Object.hasOwn(recipes, name))
    throw new RangeError(
      `recipe '${name}' is not known${didYouMean(name, Object.keys(recipes))}; expected ${Object.keys(recipes).join(', ')}`,
    );
  return recipes[name as RecipeName];
}
