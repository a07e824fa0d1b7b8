/** The fields of a config.json, each checked as it is read. */
import { isObject, isSize, type JsonObject, show } from '../formats/json.ts';

/** More than any model has. What a file asks for beyond that is refused before anything is made of it. */
const MOST = 2 ** 24;

/** The smallest normal float32: a smaller eps would be 0, or less than it says, where it is added. */
export const LEAST = 2 ** -126;

/** Ways to read a field. Of several paths the first that is there counts; without a fallback one must be. */
export function fields(json: JsonObject, file: string) {
  /** null is absent: Python's configs write it for what was not set. */
  const at = (path: string): unknown => {
    const step = (value: unknown, key: string) =>
      isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
    return path.split('.').reduce<unknown>(step, json) ?? undefined;
  };
  const must = (path: string, what: string, holds: (value: unknown) => boolean): void => {
    if (!holds(at(path))) throw new RangeError(`${file}: ${path} expected ${what}; got ${show(at(path))}`);
  };
  const first = <T>(
    paths: readonly string[],
    fallback: T | (() => T) | undefined,
    what: string,
    holds: (v: T) => boolean,
  ): T => {
    const path = paths.find(p => at(p) !== undefined);
    if (path === undefined && fallback !== undefined)
      return fallback instanceof Function ? fallback() : fallback;
    must(path ?? paths[0], what, value => holds(value as T));
    return at(path!) as T;
  };
  return {
    at,
    /** A field that may be absent, and else must hold. */
    may: (path: string, what: string, holds: (value: unknown) => boolean): void =>
      must(path, what, value => value === undefined || holds(value)),
    size(paths: readonly string[], fallback?: number | (() => number), most = MOST): number {
      first(paths, fallback, 'a positive integer', v => isSize(v) && v > 0);
      return first(paths, fallback, `at most ${most}`, v => v <= most);
    },
    /** int(factor · of), as Python has it. */
    times: (paths: readonly string[], of: number, fallback: number): number => {
      const whole = (factor: number) => Math.floor(factor * of);
      const holds = (v: unknown) => typeof v === 'number' && whole(v) >= 1 && whole(v) <= MOST;
      return whole(first(paths, fallback, `a number that, times ${of}, is 1 … ${MOST}`, holds));
    },
    /** The base of powers. */
    base: (paths: readonly string[], fallback: number): number =>
      first(paths, fallback, 'a number of at least 1', v => Number.isFinite(v) && v >= 1),
    /** A multiplier; 1 where it is not said. */
    factor: (path: string): number => first([path], 1, 'a positive number', v => Number.isFinite(v) && v > 0),
    eps: (paths: readonly string[], fallback: number) =>
      first(
        paths,
        fallback,
        `a number from ${LEAST} to 1`,
        v => typeof v === 'number' && v >= LEAST && v < 1,
      ),
    flag: (paths: readonly string[], fallback: boolean) =>
      first(paths, fallback, 'true or false', v => typeof v === 'boolean'),
  };
}
