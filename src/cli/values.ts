/** Readers of what the user writes after an option. */
import { basename } from 'node:path';
import { InvalidArgumentError } from 'commander';
import type { Shard } from '../eval/partial.ts';
import { type TaskName, taskNames } from '../eval/tasks.ts';
import { parseJson } from '../formats/json.ts';
import { recipe } from '../quant/recipes.ts';
import { parseRecipe, type Recipe } from '../quant/scheme.ts';
import { readGiven, UsageError, usage } from './terminal.ts';

/** Makes the reader of an option's number: `accepts` tests it, and `expected` says in errors what is accepted. */
const numberOption = (expected: string, accepts: (n: number) => boolean) => (text: string) => {
  const value = Number(text);
  if (text.trim() === '' || !accepts(value))
    throw new InvalidArgumentError(`expected ${expected}; got '${text}'`);
  return value;
};
export const wholeFrom = (least: number) =>
  numberOption(`a whole number >= ${least}`, n => Number.isSafeInteger(n) && n >= least);
export const integer = numberOption('a whole number', Number.isSafeInteger);
export const nonNegative = numberOption('a number >= 0', n => Number.isFinite(n) && n >= 0);
export const positive = numberOption('a number > 0', n => Number.isFinite(n) && n > 0);
export const fraction = numberOption('a number in (0, 1]', n => n > 0 && n <= 1);
export const fractionOrZero = numberOption('a number in [0, 1]', n => n >= 0 && n <= 1);

/** Such as 512MiB, 2GB or 1000000. */
export function sizeInBytes(text: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*(|[kmgt]i?b?|b)$/i.exec(text.trim()) ?? [];
  const power = 'kmgt'.indexOf(unit[0]?.toLowerCase() ?? '') + 1;
  const bytes = Number(number) * (/i/i.test(unit) ? 1024 : 1000) ** (unit ? power : 0);
  if (!Number.isSafeInteger(Math.round(bytes)))
    throw new InvalidArgumentError(`expected bytes, such as 512MiB or 2GB; got '${text}'`);
  return Math.round(bytes);
}

const tokenId = numberOption('token ids separated by commas', n => Number.isSafeInteger(n) && n >= 0);
export const tokenList = (text: string): number[] => text.split(',').map(tokenId);

/** The longest row of the table has a few hundred. */
const MOST_BYTES_OF_RECIPE = 1e6;

export type NamedRecipe = { readonly name: string; readonly scheme: Recipe };

/** A recipe of the table by its name, or a recipe of the user in a JSON file. */
export function recipeNamed(name: string): NamedRecipe {
  if (!name.endsWith('.json')) return { name, scheme: usage(() => recipe(name)) };
  const file = readGiven(name, { name: `--recipe ${name}`, most: MOST_BYTES_OF_RECIPE });
  return { name: basename(name, '.json'), scheme: usage(() => parseRecipe(parseJson(file, name), name)) };
}

export const namedTwice = (names: readonly string[]): string | undefined =>
  names.find((name, i) => names.indexOf(name) < i);

/** The names in a list with commas, or all of them for 'all'. To name one twice is wrong usage. */
export function namesIn(list: string, all: readonly string[], option: string): readonly string[] {
  const names = list === 'all' ? all : list.split(',');
  const twice = namedTwice(names);
  if (twice !== undefined) throw new UsageError(`${option} ${twice} is named twice`);
  return names;
}

/** `piqa,arc_easy` or `all`. */
export function tasksNamed(list: string): TaskName[] {
  const names = namesIn(list, taskNames, '--task');
  const unknown = names.find(name => !(taskNames as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--task '${unknown}' is not known; expected all or ${taskNames.join(', ')}`);
  return names as TaskName[];
}

/** `2/8`: shard 2 of 8, counted from 0. */
export function shardNamed(text: string): Shard {
  const [, index, count] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (index === undefined || index >= count)
    throw new UsageError(`--shard expected I/N with I from 0 to N − 1, such as 0/4; got '${text}'`);
  return { index, count };
}
