/** The windows that a text is measured in. */
import type { Executable, Sequence } from '../executable.ts';
import type { Program } from '../graph.ts';

/** Makes an executable of a program. */
export type Prepare = (program: Program) => Executable;

/** Windows, and how programs are run over them. */
export interface Reading {
  readonly windows: readonly Int32Array[];
  readonly prepare: Prepare;
  /** Called after each window of every program. */
  readonly onWindow?: () => void;
}

export const tokensIn = (windows: readonly Int32Array[]): number =>
  windows.reduce((sum, { length }) => sum + length, 0);

/** Runs a program over windows, each from an empty state: `feed` gives the sequence a window. */
export function overWindows(
  program: Program,
  { windows, prepare, onWindow }: Reading,
  feed: (sequence: Sequence, window: Int32Array) => void,
): void {
  const executable = prepare(program);
  try {
    const sequence = executable.open();
    for (const window of windows) {
      sequence.load();
      feed(sequence, window);
      onWindow?.();
    }
  } finally {
    executable.dispose?.();
  }
}

/**
 * The whole windows of a text, without overlap, of `limit` tokens at most.
 *
 * @param name how errors call the text
 * @throws RangeError where not one window fits.
 */
export function windowsOf(tokens: Int32Array, window: number, limit?: number, name?: string): Int32Array[] {
  if (!Number.isInteger(window) || window < 2)
    throw new RangeError(`window expected a whole number >= 2; got ${window}`);
  const wanted = `expected at least ${window} tokens (one window)`;
  if (tokens.length < window)
    throw new RangeError(`${name === undefined ? '' : `${name}: `}text ${wanted}; got ${tokens.length}`);
  const count = Math.floor(Math.min(tokens.length, limit ?? tokens.length) / window);
  if (count < 1) throw new RangeError(`limit ${wanted}; got ${limit}`);
  return Array.from({ length: count }, (_, i) => tokens.subarray(i * window, (i + 1) * window));
}
