/** The plan that quamba runs. Static scales are taken from random tokens, since a model of random weights has no text. */
import { backends, calibrate, planOf, prepare, recipe as recipeNamed } from '../../../dist/index.js';
import { random } from '../../../dist/text/random.js';

const CALIBRATION = { windows: 4, tokens: 64 };

export function planFor({ recipe, model, threads }) {
  const scheme = recipeNamed(recipe);
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
