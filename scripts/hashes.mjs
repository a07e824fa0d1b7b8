/**
 * The logits of every recipe against golden/hashes.json: the bits that no change may move.
 *
 *   node scripts/hashes.mjs [--backend reference|wasm|cuda] [--threads N] [--recipe a,b]    the last line is `N passed, N failed`
 *   node scripts/hashes.mjs --write                                                         writes the file, from the reference
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { load, recipes } from '../dist/index.js';
import { calibrationOf, hashOf, known } from '../golden/hashes.mjs';

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    backend: { type: 'string', default: 'wasm' },
    threads: { type: 'string', default: '1' },
    recipe: { type: 'string', default: Object.keys(recipes).join(',') },
  },
});
const backend = values.write ? 'reference' : values.backend;
const asked = values.recipe.split(',');
/** @type {typeof known.logits} */
const found = {};
for (const recipe of asked) {
  const model = await load(undefined, {
    ...{ recipe, backend, threads: Number(values.threads) },
    ...calibrationOf(recipe),
  });
  const tokens = model.tokenizer.encode(known.text).slice(0, known.positions);
  found[recipe] = hashOf(model.session().feed(tokens));
  model.dispose();
  if (!values.write && found[recipe] !== known.logits[recipe])
    console.log(`${recipe}: ${found[recipe]}; expected ${known.logits[recipe]}`);
}
if (values.write) {
  const file = new URL('../golden/hashes.json', import.meta.url);
  writeFileSync(file, `${JSON.stringify({ ...known, logits: { ...known.logits, ...found } }, null, 1)}\n`);
} else {
  const failed = asked.filter(recipe => found[recipe] !== known.logits[recipe]).length;
  console.log(`${asked.length - failed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}
