/** The bits of the recipes whose statistics come with the model. */
import { expect, it } from 'vitest';
import { known } from '../../golden/hashes.mjs';
import { recipes } from '../../src/quant/recipes.ts';
import { testLogits } from './logits.ts';

it('golden/hashes.json has every recipe (node scripts/hashes.mjs --write)', () =>
  expect(Object.keys(known.logits)).toEqual(Object.keys(recipes)));

testLogits({ calibrated: false });
