/**
 * Makes what comes with the embedded model: for each recipe what calibration saw (stats.<recipe>.safetensors), and the
 * ready plan of the default recipe. Run it after a change of the recipes, the calibration text or the op definitions:
 *
 *   npm run build && node scripts/embedded-model.mjs [recipe …]
 *
 * A recipe takes about two minutes.
 */
import { prepare } from '../dist/backends/backend.js';
import { backend, defaultBackend } from '../dist/backends/index.js';
import { openFolder, writeFileAtomic } from '../dist/formats/disk.js';
import { CALIBRATION_TEXT, EMBEDDED_MODEL } from '../dist/load.js';
import { CALIBRATION_DEFAULTS, openFloatModel, openModel } from '../dist/open-model.js';
import { calibrate, needsCalibration } from '../dist/quant/calibrate.js';
import { savePlan } from '../dist/quant/checkpoint.js';
import { planOf, samplesOf } from '../dist/quant/pipeline.js';
import { DEFAULT_RECIPE, recipe, recipes } from '../dist/quant/recipes.js';
import { saveStats } from '../dist/quant/stats-file.js';

const folder = openFolder(EMBEDDED_MODEL);
const { config, program, identity } = openFloatModel(folder);
const { tokenizer } = await openModel(folder, { recipe: 'fp32' });
const { samples, window } = CALIBRATION_DEFAULTS;
const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(recipes);

const tokens = tokenizer.encode(await CALIBRATION_TEXT.read());
const calibration = { text: CALIBRATION_TEXT.name, samples, window };
const source = identity();
for (const name of chosen.filter(row => needsCalibration(program, recipe(row)))) {
  const scheme = recipe(name);
  const stats = calibrate(program, scheme, samplesOf(tokens, samples, window), {
    prepare: part => prepare(backend(defaultBackend()), part),
    onProgress: (done, total) => console.log(`${name}: ${done}/${total}`),
  });
  const file = kind => `${EMBEDDED_MODEL}/${kind}.${name}.safetensors`;
  writeFileAtomic(file('stats'), saveStats(stats, { recipe: scheme, source, calibration }));
  if (name !== DEFAULT_RECIPE) continue;
  const info = { config, recipe: { name, scheme }, source, calibration };
  writeFileAtomic(file('plan'), savePlan(planOf(program, scheme, stats), info));
}
