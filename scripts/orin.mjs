/**
 * Writes docs/orin.md and docs/orin.svg from the built package.
 *
 *   npm run build && node scripts/orin.mjs
 */
import { writeFileSync } from 'node:fs';
import { flatten } from '../dist/graph.js';
import { parse } from '../dist/op.js';
import { planOf } from '../dist/quant/pipeline.js';
import { recipes } from '../dist/quant/recipes.js';
import { randomModel } from '../dist/random/model.js';
import { nominalRanges } from '../dist/random/nominal-ranges.js';
import { shapes } from '../dist/random/shapes.js';
import { foldConstants } from '../dist/run.js';
import { sizeOf } from '../dist/tensor.js';
import { orinPage } from './orin-page.mjs';

const library = {
  shapes,
  randomModel,
  nominalRanges,
  planOf,
  recipes,
  foldConstants,
  flatten,
  parse,
  sizeOf,
};
const { text, picture } = orinPage(library);
const docs = new URL('../docs/', import.meta.url);
writeFileSync(new URL('orin.md', docs), text);
writeFileSync(new URL('orin.svg', docs), picture);
console.log('docs/orin.md, docs/orin.svg');
