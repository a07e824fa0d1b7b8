/**
 * Keeps a value for each of some texts, and finds the longest kept text that another text begins with. A text is its tokens.
 *
 * The texts are a tree: texts that begin alike share their beginning, which is counted once, as backends share the growing states of
 * forks. What was not used for the longest time goes when all together take more than `mostBytes`; the two used last stay, whatever
 * their size.
 *
 *        ┌─ 7 3 ──● ┬─ 1 ──●          ● kept
 *   ──5 9┤          └─ 4 2 ──●
 *        └─ 8 ──●
 */
export interface Prefixes<T> {
  /** The longest kept text that `tokens` begins with, of those whose value `isFit`. It counts as used. */
  longest(tokens: ArrayLike<number>, isFit?: (value: T) => boolean): Prefix<T> | undefined;
  /** Keeps a value for a text, in place of what is kept for it. */
  keep(tokens: ArrayLike<number>, value: T): void;
  /** Lets go what was not used for longest. False where nothing is kept. */
  drop(): boolean;
  /** How many texts are kept, and the bytes that they take. */
  readonly size: number;
  readonly bytes: number;
}

export interface Prefix<T> {
  readonly length: number;
  readonly value: T;
}

export interface PrefixesOptions<T> {
  readonly mostBytes: number;
  /** What a value takes, and what each token takes that no other kept text has. */
  readonly bytesEach: number;
  readonly bytesPerToken: number;
  /** Gets each value that is not kept any more. */
  readonly onDrop?: (value: T) => void;
}

/** An edge of the tree with what is below it. The root has no tokens. */
interface Branch<T> {
  tokens: Int32Array;
  parent: Branch<T> | undefined;
  readonly below: Map<number, Branch<T>>;
  kept: Prefix<T> | undefined;
}

export function prefixes<T>({
  mostBytes,
  bytesEach,
  bytesPerToken,
  onDrop,
}: PrefixesOptions<T>): Prefixes<T> {
  const root: Branch<T> = { tokens: new Int32Array(0), parent: undefined, below: new Map(), kept: undefined };
  /** Branches with a kept text; the last used stands last. */
  const used = new Set<Branch<T>>();
  let tokensOfTree = 0;
  const bytes = () => used.size * bytesEach + tokensOfTree * (bytesPerToken + Int32Array.BYTES_PER_ELEMENT);
  const use = (branch: Branch<T>): void => {
    used.delete(branch);
    used.add(branch);
  };

  const add = (parent: Branch<T>, tokens: Int32Array): Branch<T> => {
    const branch: Branch<T> = { tokens, parent, below: new Map(), kept: undefined };
    parent.below.set(tokens[0], branch);
    tokensOfTree += tokens.length;
    return branch;
  };
  /** The branch above the one given, that ends after `count` of its tokens. */
  const split = (branch: Branch<T>, count: number): Branch<T> => {
    const { parent, tokens } = branch;
    const above: Branch<T> = { tokens: tokens.slice(0, count), parent, below: new Map(), kept: undefined };
    parent!.below.set(tokens[0], above);
    branch.tokens = tokens.slice(count);
    branch.parent = above;
    above.below.set(branch.tokens[0], branch);
    return above;
  };
  const branchOf = (tokens: Int32Array): Branch<T> => {
    let branch = root;
    for (let at = 0; at < tokens.length; ) {
      const next = branch.below.get(tokens[at]);
      if (!next) return add(branch, tokens.slice(at));
      const same = alike(next.tokens, tokens, at);
      branch = same < next.tokens.length ? split(next, same) : next;
      at += same;
    }
    return branch;
  };
  /** Takes branches away that lead to nothing, and joins those that do not fork. */
  const prune = (branch: Branch<T>): void => {
    const { parent, below, tokens } = branch;
    if (branch.kept || !parent || below.size > 1) return;
    if (below.size === 0) {
      parent.below.delete(tokens[0]);
      tokensOfTree -= tokens.length;
      prune(parent);
    } else {
      const [next] = below.values();
      next.tokens = Int32Array.from([...tokens, ...next.tokens]);
      next.parent = parent;
      parent.below.set(tokens[0], next);
    }
  };
  const drop = (branch: Branch<T>): void => {
    const { value } = branch.kept!;
    branch.kept = undefined;
    used.delete(branch);
    prune(branch);
    onDrop?.(value);
  };
  const dropOldest = (): boolean => {
    for (const oldest of used) {
      drop(oldest);
      return true;
    }
    return false;
  };

  return {
    longest(tokens, isFit = () => true) {
      let found: Branch<T> | undefined;
      let branch: Branch<T> | undefined = root;
      for (let at = 0; branch; branch = branch.below.get(tokens[at])) {
        if (alike(branch.tokens, tokens, at) < branch.tokens.length) break;
        at += branch.tokens.length;
        if (branch.kept && isFit(branch.kept.value)) found = branch;
        if (at >= tokens.length) break;
      }
      if (found) use(found);
      return found?.kept;
    },
    keep(given, value) {
      const tokens = Int32Array.from(given);
      const branch = branchOf(tokens);
      const before = branch.kept;
      branch.kept = { length: tokens.length, value };
      use(branch);
      if (before) onDrop?.(before.value);
      while (bytes() > mostBytes && used.size > 2) dropOldest();
    },
    drop: dropOldest,
    get size() {
      return used.size;
    },
    get bytes() {
      return bytes();
    },
  };
}

/** How many of the tokens of a run stand in a text from `at` on. */
function alike(run: Int32Array, text: ArrayLike<number>, at: number): number {
  let same = 0;
  while (same < run.length && run[same] === text[at + same]) same++;
  return same;
}
