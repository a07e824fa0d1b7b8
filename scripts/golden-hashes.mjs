/** What golden/hashes.json is about: the models whose logits it knows. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { EMBEDDED_MODEL, load } from '../dist/index.js';

export const file = fileURLToPath(new URL('../golden/hashes.json', import.meta.url));
export const known = JSON.parse(readFileSync(file, 'utf8'));
const files = readdirSync(EMBEDDED_MODEL);

/**
 * A recipe of the embedded model. One whose statistics do not come with the model is calibrated on a short text: the bits are what
 * is asked for, not the quality.
 */
export function modelOf(recipe, backend, threads = 1) {
  const comesWith = recipe === 'fp32' || recipe.startsWith('dynamic') || recipe === 'w4a16-rtn';
  const brief = !comesWith && !files.includes(`stats.${recipe}.safetensors`);
  return load(undefined, { recipe, backend, threads, ...(brief && known.calibration) });
}
