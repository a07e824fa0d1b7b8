/**
 * A text as a sequence of tokens, and the states that were kept of it. A branch shares its first tokens with the one that it was
 * forked from; the state after any of them is a kept one, with the rest fed again: the same bits.
 */
export interface Token {
  readonly id: number;
  readonly text: string;
}

/** A state as bytes, after `position` tokens. */
export interface Kept {
  readonly position: number;
  readonly bytes: Uint8Array;
}

export interface Branch {
  readonly number: number;
  readonly recipe: string;
  readonly parent: Branch | undefined;
  /** What a fork draws with, so that it differs from its parent and its siblings. */
  readonly seed: number | undefined;
  /** Tokens that are not its own: its parent's, or those before a state that came without its text. */
  readonly from: number;
  /** Tokens that are not known, before the first of `tokens`: 0 but for a state that came without its text. */
  readonly start: number;
  /** From a file. */
  readonly isOpened: boolean;
  readonly tokens: Token[];
  /** In ascending order. */
  readonly kept: Kept[];
}

let branches = 0;

export const newBranch = (recipe: string, { start = 0, isOpened = false } = {}): Branch => ({
  number: ++branches,
  recipe,
  parent: undefined,
  seed: undefined,
  from: start,
  start,
  isOpened,
  tokens: [],
  kept: [],
});

/** Another branch from the state after `position` tokens. */
export const fork = (parent: Branch, position: number, seed: number): Branch => ({
  ...newBranch(parent.recipe, { start: parent.start }),
  parent,
  seed,
  from: position,
  tokens: parent.tokens.slice(0, position - parent.start),
  kept: parent.kept.filter(state => state.position <= position),
});

export const lengthOf = ({ start, tokens }: Branch): number => start + tokens.length;

/** The last state kept up to `position`; undefined where that is the start of the text. */
export const keptUpTo = ({ kept }: Branch, position: number): Kept | undefined =>
  kept.findLast(state => state.position <= position);

/** More tokens at the end, as the tokenizer gave them. */
export function append(branch: Branch, ids: ArrayLike<number>, texts: readonly string[]): void {
  branch.tokens.push(...texts.map((text, i) => ({ id: ids[i], text })));
}

/** Ids of the tokens from one position up to another. */
export const idsBetween = ({ start, tokens }: Branch, from: number, to: number): number[] =>
  tokens.slice(from - start, to - start).map(({ id }) => id);
