/** golden/hashes.json, the bits that no change may move, for whoever compares with it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * @typedef {object} Known
 * @property {string} text what is fed, from an empty state: its first tokens, as many as `positions`
 * @property {number} positions
 * @property {{ samples: number, window: number }} calibration how a recipe is calibrated whose statistics do not come with the
 *   model: on a short text, since the bits are asked for and not the quality
 * @property {string[]} calibrated those recipes
 * @property {Record<string, string>} logits by recipe: the sha256 of the logits of every position, as little-endian float32
 */

/** @type {Known} */
export const known = JSON.parse(readFileSync(new URL('hashes.json', import.meta.url), 'utf8'));

/**
 * What `load` is given beside the recipe's name.
 *
 * @param {string} recipe
 */
export const calibrationOf = recipe => (known.calibrated.includes(recipe) ? known.calibration : {});

/** @param {{ data: ArrayBufferView }} logits */
export const hashOf = ({ data }) =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');
