/** The bits that no change may move, for whoever compares with them: golden/hashes.json, and the files of other models beside it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * @typedef {object} Known
 * @property {string} model its folder
 * @property {string} text what is fed, from an empty state: its first tokens, as many as `positions`
 * @property {number} positions
 * @property {{ samples: number, window: number }} calibration how a recipe is calibrated whose statistics do not come with the
 *   model: on a short text, since the bits are asked for and not the quality
 * @property {string[]} calibrated those recipes
 * @property {Record<string, string>} logits by recipe: the sha256 of the logits of every position, as little-endian float32
 */

export const files = {
  'mamba-books-15m': new URL('hashes.json', import.meta.url),
  'mamba2-books-15m': new URL('hashes-mamba2.json', import.meta.url),
  'granite-h-books-20m': new URL('hashes-granite.json', import.meta.url),
};

/**
 * @param {keyof typeof files} model
 * @returns {Known}
 */
export const knownOf = model => JSON.parse(readFileSync(files[model], 'utf8'));

/** Of the model that comes with the package. */
export const known = knownOf('mamba-books-15m');

/**
 * What `load` is given beside the recipe's name.
 *
 * @param {string} recipe
 */
export const calibrationOf = (recipe, { calibrated, calibration } = known) =>
  calibrated.includes(recipe) ? calibration : {};

/** @param {{ data: ArrayBufferView }} logits */
export const hashOf = ({ data }) =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');
