/** What a program takes in memory, known before any weight is read. */
import type { Program } from '../graph.ts';
import { isGrowing, statesBytes } from '../state.ts';
import { BYTES, sizeOf } from '../tensor.ts';

/** Bytes. A backend takes some more, for the values between its ops. */
export interface Sizes {
  readonly weights: number;
  /** The states of one text, whatever its length. */
  readonly states: number;
  /** What each token adds to the states that grow. */
  readonly cachePerToken: number;
  /** The most tokens of a text, and what it has in the states that grow; absent where none does. */
  readonly context?: number;
  readonly cache?: number;
}

/** Tokens of a text whose states grow, where nothing else is said. */
export const CONTEXT = 8192;

/** The most tokens of a text. Where no state grows it may have any number, whatever was asked for. */
export function contextOf({ graph }: Program, asked = CONTEXT): number {
  if (!Number.isSafeInteger(asked) || asked < 1)
    throw new RangeError(`prepare: context expected a whole number >= 1; got ${asked}`);
  return [...graph.states.values()].some(isGrowing) ? asked : Number.POSITIVE_INFINITY;
}

/** @param context tokens, infinite where no state grows. */
export function sizesOf({ graph }: Program, context: number): Sizes {
  const weights = [...graph.weights.values()].reduce(
    (sum, { dtype, shape }) => sum + BYTES[dtype] * sizeOf(shape),
    0,
  );
  const states = statesBytes(graph.states, 0);
  const cachePerToken = statesBytes(graph.states, 1) - states;
  const grown = context < Number.POSITIVE_INFINITY && { context, cache: context * cachePerToken };
  return { weights, states, cachePerToken, ...grown };
}
