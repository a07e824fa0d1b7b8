// The sha256 of the logits of every recipe, on one text, against golden/hashes.json: the bits that no change may move.
//
//   node scripts/hashes.mjs [--backend reference|wasm] [--threads N] [--recipe a,b]    compares; the last line is `N passed, N failed`
//   node scripts/hashes.mjs --write                                                    writes the file, from the reference
//
// A recipe whose statistics do not come with the model is calibrated on a short text: the bits are what is asked for, not the quality.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { EMBEDDED_MODEL, load, recipes } from '../dist/index.js';

const file = fileURLToPath(new URL('../golden/hashes.json', import.meta.url));
const { values } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    backend: { type: 'string', default: 'wasm' },
    threads: { type: 'string', default: '1' },
    recipe: { type: 'string', default: Object.keys(recipes).join(',') },
  },
});
const ABOUT = {
  model: 'models/mamba-books-15m',
  text: 'The old man looked out of the window and saw a ship upon the sea. '.repeat(8),
  positions: 64,
  calibration: { samples: 2, window: 64 },
};
const known = values.write ? { ...ABOUT, logits: {} } : JSON.parse(readFileSync(file, 'utf8'));
const files = readdirSync(EMBEDDED_MODEL);

async function hashOf(recipe) {
  const comesWith = recipe === 'fp32' || recipe.startsWith('dynamic') || recipe === 'w4a16-rtn';
  const brief = !comesWith && !files.includes(`stats.${recipe}.safetensors`);
  const model = await load(undefined, {
    recipe,
    backend: values.write ? 'reference' : values.backend,
    threads: Number(values.threads),
    ...(brief && known.calibration),
  });
  const tokens = model.tokenizer.encode(known.text).slice(0, known.positions);
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
  if (values.write) known.logits[recipe] = found;
  else if (found !== known.logits[recipe]) {
    failed++;
    console.log(`${recipe}: ${found}; expected ${known.logits[recipe]}`);
  }
}
if (values.write) writeFileSync(file, `${JSON.stringify(known, null, 1)}\n`);
else console.log(`${asked.length - failed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
