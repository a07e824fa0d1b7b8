/**
 * Keeps a value for each of some texts, and finds the longest kept text that another text begins with. A text is its tokens.
 *
 * What was not used for the longest time goes when all together have more than `mostBytes`; the two used last stay, whatever their
 * size.
 */
export interface Prefixes<T> {
  /** The longest kept text that `tokens` begins with, of those whose value `isFit`. */
  longest(tokens: ArrayLike<number>, isFit?: (value: T) => boolean): Prefix<T> | undefined;
  keep(prefix: Prefix<T>): void;
}

export interface Prefix<T> {
  readonly tokens: Int32Array;
  readonly value: T;
  /** What it takes, its tokens not counted. */
  readonly bytes: number;
}

export function prefixes<T>(mostBytes: number): Prefixes<T> {
  /** The last used stands last. */
  let kept: Prefix<T>[] = [];
  const sizeOf = ({ tokens, bytes }: Prefix<T>) => tokens.byteLength + bytes;
  return {
    longest(tokens, isFit = () => true) {
      const found = kept
        .filter(each => begins(tokens, each.tokens) && isFit(each.value))
        .reduce<Prefix<T> | undefined>((a, b) => (a && a.tokens.length > b.tokens.length ? a : b), undefined);
      if (found) kept = [...kept.filter(each => each !== found), found];
      return found;
    },
    keep(prefix) {
      const isSame = ({ tokens }: Prefix<T>) =>
        tokens.length === prefix.tokens.length && begins(tokens, prefix.tokens);
      kept = [...kept.filter(each => !isSame(each)), prefix];
      let bytes = kept.reduce((sum, each) => sum + sizeOf(each), 0);
      while (bytes > mostBytes && kept.length > 2) bytes -= sizeOf(kept.shift()!);
    },
  };
}

const begins = (tokens: ArrayLike<number>, prefix: Int32Array): boolean =>
  prefix.length <= tokens.length && prefix.every((token, i) => token === tokens[i]);
