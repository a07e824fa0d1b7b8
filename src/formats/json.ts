/**
 * JSON that came from outside: read strictly, and shown in errors without printing all of it.
 */
import { type Folder, using } from './bytes.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** No JSON that we read is near this size; the limit keeps a wrong file from filling the memory. */
const MOST_BYTES = 100_000_000;

/** Parses the whole of a JSON file of the folder. */
export function readJson(folder: Folder, file: string): unknown {
  return using(folder, file, source => {
    if (source.size > MOST_BYTES)
      throw new Error(`${source.name}: expected JSON of at most ${MOST_BYTES} bytes; got ${source.size}`);
    return parseJson(source.read(0, source.size), source.name);
  });
}

/** @throws Error when the bytes are not UTF-8, not JSON, or name a key twice in one object. `what` begins the sentence. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Error(`${what}: expected UTF-8 text; got bytes that are not`);
  }
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

/** JSON.parse keeps the last of two equal keys in silence. `text` is valid JSON. */
function repeatedKey(text: string): string | undefined {
  const open: Set<string>[] = []; // the keys so far of each object or array around position i
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '{' || char === '[') open.push(new Set());
    else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const start = i;
      while (text[++i] !== '"') if (text[i] === '\\') i++;
      let next = i + 1;
      while (text[next] <= ' ') next++;
      if (text[next] !== ':') continue;
      const key: string = JSON.parse(text.slice(start, i + 1));
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

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
    throw new TypeError(`${where}: no field ${show(unknown)}; expected ${keys!.join(', ')}`);
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
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  return value === undefined ? 'nothing' : String(value);
}
