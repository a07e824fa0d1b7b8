/** What the commands share: reading option values, progress on stderr, and how an error ends the program. */

import { mkdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { backendNames } from '../backends/node.ts';
import { parseJson } from '../formats/json.ts';
import { modelFolder } from '../hub/cache.ts';
import { EMBEDDED_MODEL } from '../open/node.ts';
import { recipe, recipes } from '../quant/recipes.ts';
import { parseRecipe, type Recipe } from '../quant/scheme.ts';

/** Wrong usage: exit code 2. Everything else that fails: 1. */
export class UsageError extends Error {}

/** Makes the reader of an option's number: `accepts` tests it, and `expected` says in errors what is accepted. */
const numberOption = (expected: string, accepts: (n: number) => boolean) => (text: string) => {
  const value = Number(text);
  if (text.trim() === '' || !accepts(value))
    throw new InvalidArgumentError(`expected ${expected}; got '${text}'`);
  return value;
};
export const count = numberOption('a whole number >= 1', n => Number.isSafeInteger(n) && n >= 1);
export const twoOrMore = numberOption('a whole number >= 2', n => Number.isSafeInteger(n) && n >= 2);
export const countOrZero = numberOption('a whole number >= 0', n => Number.isSafeInteger(n) && n >= 0);
export const integer = numberOption('a whole number', Number.isSafeInteger);
export const nonNegative = numberOption('a number >= 0', n => Number.isFinite(n) && n >= 0);
export const positive = numberOption('a number > 0', n => Number.isFinite(n) && n > 0);
export const fraction = numberOption('a number in (0, 1]', n => n > 0 && n <= 1);
export const fractionOrZero = numberOption('a number in [0, 1]', n => n >= 0 && n <= 1);

export const tokenList = (text: string): number[] =>
  text.split(',').map(part => {
    const token = Number(part);
    if (part.trim() === '' || !Number.isSafeInteger(token) || token < 0)
      throw new InvalidArgumentError(`expected token ids separated by commas; got '${part}'`);
    return token;
  });

export const modelOption = () =>
  new Option(
    '--model <dir>',
    'folder of the model (Hugging Face, state-spaces, or made by quamba quantize), or the name of a pulled one',
  )
    .argParser(path => modelFolder(path))
    .default(EMBEDDED_MODEL, 'the embedded mamba-books-15m');
export const recipeOption = (
  otherwise = 'what the model was quantized by, or quamba where it is ready, or fp32',
) =>
  new Option('--recipe <name>', `${Object.keys(recipes).join(', ')}, or a JSON file`)
    .argParser(name => recipeNamed(name))
    .default(undefined, otherwise);
export const backendOption = () =>
  new Option('--backend <name>', 'what computes')
    .choices(backendNames)
    .default(undefined, 'wasm, or reference where the engine has no SIMD'); // finding out takes compiling, so the help says both
export const threadsOption = () =>
  new Option('--threads <n>', 'how many threads share the work; the bits do not depend on it')
    .argParser(count)
    .default(1);
export const jsonOption = () => new Option('--json', 'print one JSON object');

/** What most commands take. */
export type RunOptions = {
  model: string;
  recipe?: NamedRecipe;
  backend?: string;
  threads: number;
  json?: boolean;
};

export type NamedRecipe = { readonly name: string; readonly scheme: Recipe };

/** A recipe of the table by its name, or a recipe of the user in a JSON file. */
export function recipeNamed(name: string): NamedRecipe {
  if (!name.endsWith('.json')) return { name, scheme: usage(() => recipe(name)) };
  const file = readGiven(name, `--recipe ${name}`);
  return { name: basename(name, '.json'), scheme: usage(() => parseRecipe(parseJson(file, name), name)) };
}

/** The names in a list with commas, or all of them for 'all'. To name one twice is wrong usage. */
export function namesIn(list: string, all: readonly string[], option: string): readonly string[] {
  const names = list === 'all' ? all : list.split(',');
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new UsageError(`${option} ${twice} is named twice`);
  return names;
}

/** Reads a file that the user named. One that cannot be read is wrong usage. */
export function readGiven(path: string, what = path): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${what}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/**
 * Makes the folder that an option names, with those above it.
 *
 * @returns the first folder that was not there before
 */
export function makeFolder(path: string, option: string): string | undefined {
  try {
    return mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new Error(`${option} ${path}: cannot be made a folder (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** Runs a check of what the user asked for; its failure is wrong usage. */
export function usage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Shows progress on stderr: in a terminal on one line that is rewritten, elsewhere a line for every tenth. Nothing if `quiet`. */
export function progressLine(label: string, quiet = false): (done: number, total: number) => void {
  const start = performance.now();
  let tenth = -1;
  return (done, total) => {
    if (quiet) return;
    const seconds = (performance.now() - start) / 1000;
    const left = done > 0 ? Math.round((seconds / done) * (total - done)) : 0;
    const line = `${label} ${done}/${total}, ${Math.round(seconds)} s, ${left} s left`;
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}${done === total ? '\n' : ''}`);
    else if (Math.floor((10 * done) / total) > tenth) {
      tenth = Math.floor((10 * done) / total);
      process.stderr.write(`${line}\n`);
    }
  };
}

/** Progress of several things at once, each on lines of its own. */
export function progressLines(labelOf: (of: string) => string, quiet = false) {
  const lines = new Map<string, ReturnType<typeof progressLine>>();
  return (of: string, done: number, total: number): void => {
    const line = lines.get(of) ?? progressLine(labelOf(of), quiet);
    lines.set(of, line);
    line(done, total);
  };
}

export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value));
/** Prints a result, as JSON or in words. */
export const printAs = (json: boolean | undefined, value: unknown, inWords: () => string): void =>
  json ? printJson(value) : print(inWords());
