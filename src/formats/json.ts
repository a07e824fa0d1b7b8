/** JSON that came from outside: read strictly, and shown in errors without printing all of it. */
import { decodeUtf8, type Folder, using } from './bytes.ts';
import { didYouMean } from './nearest.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** No JSON that we read is near this size; the limit keeps a wrong file from filling the memory. */
const MOST_BYTES = 100_000_000;
/** Nor is any as deep. */
const MOST_DEPTH = 100;

/** Parses the whole of a JSON file of the folder, which has at most `most` bytes. */
export function readJson(folder: Folder, file: string, most = MOST_BYTES): unknown {
  return using(folder, file, source => {
    if (source.size > most)
      throw new Error(`${source.name}: expected JSON of at most ${most} bytes; got ${source.size}`);
    return parseJson(source.read(0, source.size), source.name);
  });
}

/**
 * `what` begins the sentence.
 *
 * @throws Error when the bytes are not UTF-8, not JSON, too deep, or name a key twice in one object.
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw new Error(`${what}: expected UTF-8 text; got bytes that are not`);
  return parseJsonText(text, what);
}

/** The same of a text. */
export function parseJsonText(text: string, what: string): unknown {
  checkDepth(text, what);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${what}: expected JSON; ${error instanceof Error ? error.message : error}`);
  }
  const twice = repeatedKey(text);
  if (twice !== undefined) throw new Error(`${what}: key ${show(twice)} stands twice in one object`);
  return value;
}

/** Before it is parsed: each level takes memory, and of the stack. `text` may be anything. */
function checkDepth(text: string, what: string): void {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '{' || char === '[') depth++;
    else if (char === '}' || char === ']') depth--;
    else if (char === '"') while (++i < text.length && text[i] !== '"') if (text[i] === '\\') i++;
    if (depth > MOST_DEPTH)
      throw new Error(`${what}: expected JSON of at most ${MOST_DEPTH} levels; got more at character ${i}`);
  }
}

/** JSON.parse keeps the last of two equal keys in silence. `text` is valid JSON. */
function repeatedKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // the keys so far of each object around position i, from the first on
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '{' || char === '[') open.push(undefined);
    else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const start = i;
      while (text[++i] !== '"') if (text[i] === '\\') i++;
      let next = i + 1;
      while (text[next] <= ' ') next++;
      if (text[next] !== ':') continue;
      const key: string = JSON.parse(text.slice(start, i + 1));
      const keys = open[open.length - 1] ?? new Set();
      if (keys.has(key)) return key;
      open[open.length - 1] = keys.add(key);
    }
  }
  return undefined;
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A whole number from 0 on: how many there are of something, or how long it is. */
export const isSize = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

/** The form of every complaint about a value of some JSON. */
export function unexpected(where: string, expected: string, got: unknown): never {
  throw new TypeError(`${where} expected ${expected}; got ${show(got)}`);
}

/*
 * Readers: each returns the value that it is given, typed, or throws a TypeError that says what was expected at `where`.
 */

/** An object; with `keys`, one that has no other fields. */
export function object(value: unknown, where: string, keys?: readonly string[]): JsonObject {
  if (!isObject(value)) return unexpected(where, 'an object', value);
  const unknown = keys && Object.keys(value).find(key => !keys.includes(key));
  if (unknown !== undefined)
    throw new TypeError(
      `${where}: no field ${show(unknown)}${didYouMean(unknown, keys!)}; expected ${keys!.join(', ')}`,
    );
  return value;
}

export const array = (value: unknown, where: string): readonly unknown[] =>
  Array.isArray(value) ? value : unexpected(where, 'an array', value);

export const string = (value: unknown, where: string): string =>
  typeof value === 'string' ? value : unexpected(where, 'a string', value);

export const number = (
  value: unknown,
  where: string,
  expected: string,
  holds: (x: number) => boolean,
): number => (typeof value === 'number' && holds(value) ? value : unexpected(where, expected, value));

export const oneOf = <T>(value: unknown, where: string, values: readonly T[]): T =>
  (values as readonly unknown[]).includes(value)
    ? (value as T)
    : unexpected(where, values.join(' or '), value);

/** A value in a few words: `"silu"`, `[2, 1.5]`, `an object`. Never long, never deep. */
export function show(value: unknown): string {
  if (Array.isArray(value))
    return value.length > 8
      ? `an array of ${value.length}`
      : `[${value.map(v => (Array.isArray(v) ? 'an array' : show(v))).join(', ')}]`;
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value === 'string') return quoted(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  return value === undefined ? 'nothing' : String(value);
}

/** JSON.stringify leaves some characters as they are that a terminal takes as commands, such as those that turn a line around. */
const quoted = (text: string): string =>
  JSON.stringify(text).replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    char => `\\u${char.codePointAt(0)!.toString(16).padStart(4, '0')}`,
  );
