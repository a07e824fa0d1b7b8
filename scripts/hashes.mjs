/**
 * The logits of every recipe against golden/hashes.json, or those of another model against its file: the bits that no change may
 * move.
 *
 *   node scripts/hashes.mjs [--model mamba2-books-15m] [--backend reference|wasm|cuda] [--threads N] [--recipe a,b]
 *                                      the last line is `N passed, N failed`
 *   node scripts/hashes.mjs --write    writes the file, from the reference
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { load, recipes } from '../dist/index.js';
import { calibrationOf, files, hashOf, knownOf } from '../golden/hashes.mjs';

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    backend: { type: 'string', default: 'wasm' },
    threads: { type: 'string', default: '1' },
    recipe: { type: 'string' },
    model: { type: 'string', default: 'mamba-books-15m' },
  },
});
const name = /** @type {keyof typeof files} */ (values.model);
const known = knownOf(name);
const backend = values.write ? 'reference' : values.backend;
const asked = values.recipe?.split(',') ?? Object.keys(name === 'mamba-books-15m' ? recipes : known.logits);
/** @type {typeof known.logits} */
const found = {};
for (const recipe of asked) {
  const model = await load(name, {
    ...{ recipe, backend, threads: Number(values.threads) },
    ...calibrationOf(recipe, known),
  });
  const tokens = model.tokenizer.encode(known.text).slice(0, known.positions);
  found[recipe] = hashOf(model.session().feed(tokens));
  model.dispose();
  if (!values.write && found[recipe] !== known.logits[recipe])
    console.log(`${recipe}: ${found[recipe]}; expected ${known.logits[recipe]}`);
}
if (values.write) {
  const logits = { ...known.logits, ...found };
  const ordered = Object.fromEntries(
    Object.keys(recipes).flatMap(row => (logits[row] ? [[row, logits[row]]] : [])),
  );
  writeFileSync(files[name], `${JSON.stringify({ ...known, logits: ordered }, null, 1)}\n`);
} else {
  const failed = asked.filter(recipe => found[recipe] !== known.logits[recipe]).length;
  console.log(`${asked.length - failed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}
