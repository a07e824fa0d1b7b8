/** The options of a page's `load`: what is wrong with them is told before a worker is started, which Node does not have. */
import { expect, it } from 'vitest';
import { load } from '../../src/web/load.ts';

it.each<[string, unknown]>([
  [' expected an object; got null', null],
  [': no field "recipes" (did you mean recipe?)', { recipes: 'quamba' }],
  [': recipe expected a string; got an object', { recipe: { name: 'mine', scheme: {} } }],
  [': files expected an array; got "config.json"', { files: 'config.json' }],
  [': files[1] expected a string; got 5', { files: ['config.json', 5] }],
  [': cache expected true or false or reload; got "no"', { cache: 'no' }],
  [': onProgress expected a function; got 5', { onProgress: 5 }],
  [': signal expected an AbortSignal; got true', { signal: true }],
  [': signal expected an AbortSignal; got null', { signal: null }],
])('load%s', async (says, options) => {
  await expect(load('https://example.org/m', options as never)).rejects.toThrow(`load${says}`);
});
