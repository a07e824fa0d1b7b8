/**
 * Ends a text at the first stop string, wherever the pieces that it comes in are cut.
 *
 * First is the one that is complete first; of two that end together, the longer. What could still become a stop string
 * is held back, so that no part of one is ever shown.
 *
 * @throws RangeError for a stop string that is empty or no text.
 */
export function stopFilter(stops: readonly string[]) {
  if (!Array.isArray(stops))
    throw new RangeError(`stop expected an array of texts; got ${JSON.stringify(stops)}`);
  for (const [i, stop] of stops.entries())
    if (typeof stop !== 'string' || stop === '' || /\p{Surrogate}/u.test(stop))
      throw new RangeError(
        `stop[${i}] expected a text of at least one character; got ${JSON.stringify(stop)}`,
      );
  let held = '';

  return {
    /** The text that may be shown now; `stopped` once a stop string is complete (it and what follows is left out). */
    push(text: string) {
      const pending = held + text;
      const at = firstStop(pending, stops);
      const shown = at ?? pending.length - hopeful(pending, stops);
      held = at === undefined ? pending.slice(shown) : '';
      return { text: pending.slice(0, shown), stopped: at !== undefined };
    },
    /** What was held back. */
    end() {
      const rest = held;
      held = '';
      return rest;
    },
  };
}

/** Where the stop string that is complete first begins. */
function firstStop(text: string, stops: readonly string[]): number | undefined {
  let first: number | undefined;
  let end = Number.POSITIVE_INFINITY;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at < 0 || at + stop.length > end || (at + stop.length === end && at > first!)) continue;
    first = at;
    end = at + stop.length;
  }
  return first;
}

/** Length of the longest end of the text with which a stop string begins. */
function hopeful(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops)
    for (let n = Math.min(text.length, stop.length - 1); n > longest; n--)
      if (text.endsWith(stop.slice(0, n))) longest = n;
  return longest;
}
