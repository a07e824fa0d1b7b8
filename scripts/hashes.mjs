// The sha256 of the logits of every recipe, on one text, against golden/hashes.json: the bits that no change may move.
//
//   node scripts/hashes.mjs [--backend reference|wasm|cuda] [--threads N] [--recipe a,b]    compares; the last line is `N passed, N failed`
//   node scripts/hashes.mjs --write                                                    writes the file, from the reference
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { recipes } from '../dist/index.js';
import { file, known, modelOf } from './golden-hashes.mjs';

const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    backend: { type: 'string', default: 'wasm' },
    threads: { type: 'string', default: '1' },
    recipe: { type: 'string', default: Object.keys(recipes).join(',') },
  },
});
const about = values.write ? { ...known, logits: {} } : known;

async function hashOf(recipe) {
  const model = await modelOf(recipe, values.write ? 'reference' : values.backend, Number(values.threads));
  const tokens = model.tokenizer.encode(about.text).slice(0, about.positions);
  const { data } = model.session().feed(tokens);
  model.dispose();
  return createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');
}

let failed = 0;
const asked = values.recipe.split(',');
for (const recipe of asked) {
  const found = await hashOf(recipe);
  if (values.write) about.logits[recipe] = found;
  else if (found !== about.logits[recipe]) {
    failed++;
    console.log(`${recipe}: ${found}; expected ${about.logits[recipe]}`);
  }
}
if (values.write) writeFileSync(file, `${JSON.stringify(about, null, 1)}\n`);
else console.log(`${asked.length - failed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
