/** JSON that came from outside: read strictly, and shown in errors without printing all of it. */
import { decodeUtf8, type Folder, using } from './bytes.ts';
import { didYouMean } from './nearest.ts';
import { standIn } from './stand-in.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** No JSON that we read is as deep. */
const MOST_DEPTH = 100;
/** A vocabulary of 260,000 tokens with its merges has two million. */
const MOST_VALUES = 1 << 22;

/** A config has thousands of bytes, the index of the largest models a million, a vocabulary tens of millions. */
export const mostBytes = (file: string): number =>
  file === 'tokenizer.json' ? 1e8 : /^tokenizer_config\.json$|\.index\.json$/.test(file) ? 1e7 : 1e6;

/** Parses the whole of a JSON file of the folder, which has at most `mostBytes`. */
export function readJson(folder: Folder, file: string): unknown {
  return using(folder, file, source => {
    const most = mostBytes(file);
    if (source.size > most)
      throw new Error(`${source.name}: expected JSON of at most ${most} bytes; got ${source.size}`);
    return parseJson(source.read(0, source.size), source.name);
  });
}

/**
 * `what` begins the sentence.
 *
 * @throws Error when the bytes are not UTF-8, not JSON, too deep, have more than `most` values, or name a key twice in one object.
 */
export function parseJson(bytes: Uint8Array, what: string, most = MOST_VALUES): unknown {
  const text = decodeUtf8(bytes);
  if (text === undefined)
    throw new Error(`${what}: ${standIn(bytes) ?? 'expected UTF-8 text; got bytes that are not'}`);
  return parseJsonText(text, what, most);
}

/** The same of a text. What Python's json writes for Infinity, −Infinity and NaN is read as these numbers. */
export function parseJsonText(text: string, what: string, most = MOST_VALUES): unknown {
  checkSize(text, what, most);
  let value: unknown;
  try {
    value = parsePython(text);
  } catch (error) {
    const wrong = `expected JSON; ${plain((error as Error).message)}`;
    throw new Error(`${what}: ${standIn(text) ?? wrong}`);
  }
  const twice = repeatedKey(text);
  if (twice !== undefined) throw new Error(`${what}: key ${show(twice)} stands twice in one object`);
  return value;
}

/** The key under which transformers writes a number that JSON does not have: {"__float__": "Infinity"}. */
const FLOAT = '__float__';
const FLOATS: ReadonlyMap<unknown, number> = new Map(
  [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN].map(x => [String(x), x]),
);
/** A bare word of json.dump. */
const WORD = /-?\bInfinity\b|\bNaN\b/g;

/** @throws SyntaxError whose positions and quotes are those of `text`, but for Python's words, in place of which a number stands. */
function parsePython(text: string): unknown {
  const isSpelt = /Infinity|NaN/.test(text);
  const json = isSpelt ? withWords(text, word => `{"${FLOAT}":"${word}"}`) : text;
  if (!json.includes(`"${FLOAT}"`)) return JSON.parse(json);
  const isFloat = (value: unknown): value is JsonObject =>
    isObject(value) && Object.keys(value).length === 1 && FLOATS.has(value[FLOAT]);
  try {
    return JSON.parse(json, (_, value) => (isFloat(value) ? FLOATS.get(value[FLOAT]) : value));
  } catch (error) {
    if (isSpelt) JSON.parse(withWords(text, word => '0 '.padStart(word.length))); // fails at the same place
    throw error;
  }
}

/** Replaces each word that stands outside of a string. A loop: a pattern for strings recurses on many escapes. */
function withWords(text: string, spell: (word: string) => string): string {
  let spelt = '';
  for (let i = 0; i < text.length; ) {
    const from = text.indexOf('"', i);
    const start = from < 0 ? text.length : from;
    let end = start + 1; // after the string; one without an end goes to the end of the text
    while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
    spelt += text.slice(i, start).replace(WORD, spell) + text.slice(start, end + 1);
    i = end + 1;
  }
  return spelt;
}

/** Before it is parsed: each value takes memory, and each level of the stack. `text` may be anything. */
function checkSize(text: string, what: string, most: number): void {
  let depth = 0;
  let values = 1; // one begins each bracket, and one follows each comma
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '{' || char === '[') depth++;
    else if (char === '}' || char === ']') depth--;
    else if (char === '"') while (++i < text.length && text[i] !== '"') if (text[i] === '\\') i++;
    if (char === '{' || char === '[' || char === ',') values++;
    if (depth > MOST_DEPTH)
      throw new Error(`${what}: expected JSON of at most ${MOST_DEPTH} levels; got more at character ${i}`);
    if (values > most)
      throw new Error(`${what}: expected JSON of at most ${most} values; got more at character ${i}`);
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

/** How many of something there are, which is not nothing. */
export const count = (value: unknown, where: string): number =>
  number(value, where, 'a whole number >= 1', n => isSize(n) && n > 0);

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
  if (typeof value === 'string')
    return escaped(JSON.stringify(cut(value, 80)), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu);
  return value === undefined ? 'nothing' : String(value);
}

/**
 * Words of someone else, such as another library's message, in a sentence or table of ours: on one line, without the characters
 * that a terminal takes as commands (C0, C1) or that turn a line around, and at most `most` characters.
 */
export const plain = (text: unknown, most = 200): string =>
  escaped(cut(String(text), most), /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/gu);

const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most)}…` : text);

/** JSON.stringify leaves most of them as they are. What is written here in their place is JSON too. */
const escaped = (text: string, which: RegExp): string =>
  text.replace(which, char =>
    char
      .split('') // of the tags beyond U+FFFF each half
      .map(unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  );
