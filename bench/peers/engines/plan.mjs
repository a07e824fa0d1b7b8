/**
 * The plan that quamba runs. Static scales are taken from random tokens, since a model of random weights has no text; with
 * `isNominal` they are constants, as in `quamba bench --shape`, for models whose float weights do not fit into a memory.
 */
import { backends, calibrate, planOf, prepare, recipe as recipeNamed } from '../../../dist/index.js';
import { nominalRecipe, nominalStats } from '../../../dist/random/nominal-ranges.js';
import { random } from '../../../dist/text/random.js';

const CALIBRATION = { windows: 4, tokens: 64 };

export function planFor({ recipe, model, threads, isNominal = false }) {
  const scheme = isNominal ? nominalRecipe(recipeNamed(recipe)) : recipeNamed(recipe);
  if (isNominal) return planOf(model.program, scheme, nominalStats(model.program, scheme));
  const { vocabSize } = model.config;
  const next = random(1);
  const samples = Array.from({ length: CALIBRATION.windows }, () =>
    Int32Array.from({ length: CALIBRATION.tokens }, () => Math.floor(next() * vocabSize)),
  );
  const stats = calibrate(model.program, scheme, samples, {
    prepare: part => prepare(backends.wasm, part, { threads }),
  });
  return planOf(model.program, scheme, stats);
}
