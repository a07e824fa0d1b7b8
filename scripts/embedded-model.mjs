/**
 * Makes what comes with a model of models/, by default the embedded one: for each recipe what calibration saw
 * (stats.<recipe>.safetensors), and the ready plan of the default recipe. Run it after a change of the recipes, the calibration
 * text or the op definitions:
 *
 *   npm run build && node scripts/embedded-model.mjs [--model mamba2-books-15m] [recipe …]
 *
 * Recipes that are calibrated on the same float program take about two minutes together. SHA256SUMS is for whoever runs it.
 */
import { parseArgs } from 'node:util';
import { prepare } from '../dist/backends/backend.js';
import { backend, defaultBackend } from '../dist/backends/index.js';
import { calibrateEach } from '../dist/eval/calibrations.js';
import { openFolder, writeFileAtomic } from '../dist/formats/disk.js';
import { modelFolder } from '../dist/hub/cache.js';
import { openFloatModel } from '../dist/open/float.js';
import { openModel } from '../dist/open/model.js';
import { CALIBRATION_TEXT, EMBEDDED_MODEL } from '../dist/open/node.js';
import { CALIBRATION_DEFAULTS } from '../dist/open/plan.js';
import { needsCalibration } from '../dist/quant/calibrate.js';
import { savePlan } from '../dist/quant/checkpoint.js';
import { planOf, samplesOf } from '../dist/quant/pipeline.js';
import { DEFAULT_RECIPE, recipe, recipes } from '../dist/quant/recipes.js';
import { saveStats } from '../dist/quant/stats.js';

const { values, positionals } = parseArgs({
  options: { model: { type: 'string', default: EMBEDDED_MODEL } },
  allowPositionals: true,
});
const path = modelFolder(values.model);
const folder = openFolder(path);
const { config, program, identity } = openFloatModel(folder);
const { tokenizer } = await openModel(folder, { recipe: 'fp32' });
const { samples, window } = CALIBRATION_DEFAULTS;
const chosen = positionals.length > 0 ? positionals : Object.keys(recipes);

const tokens = tokenizer.encode(await CALIBRATION_TEXT.read());
const calibration = { text: CALIBRATION_TEXT.name, samples, window };
const source = identity();
const names = chosen.filter(row => needsCalibration(program, recipe(row)));
const all = calibrateEach(program, names.map(recipe), samplesOf(tokens, samples, window), {
  prepare: part => prepare(backend(defaultBackend()), part),
  onProgress: (done, total) => console.log(`${done.toFixed(1)}/${total} samples`),
});
for (const [i, name] of names.entries()) {
  const scheme = recipe(name);
  const file = kind => `${path}/${kind}.${name}.safetensors`;
  await writeFileAtomic(file('stats'), saveStats(all[i], { recipe: scheme, source, calibration }));
  if (name !== DEFAULT_RECIPE) continue;
  const info = { config, recipe: { name, scheme }, source, calibration };
  await writeFileAtomic(file('plan'), savePlan(planOf(program, scheme, all[i]), info));
}
