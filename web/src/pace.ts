/** When work is done that is asked for more often than it can be done. */

/** Work for later: asked for many times, done once. */
export function once(later: (work: () => void) => unknown, work: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    later(() => {
      asked = false;
      work();
    });
  };
}
export const onceAFrame = (work: () => void): (() => void) => once(now => requestAnimationFrame(now), work);

/**
 * One request at a time, and of those that come meanwhile only the last: a slider that is dragged does not make a queue.
 */
export function latest<A>(
  run: (asked: A) => Promise<void>,
  fail: (error: unknown) => void,
): (asked: A) => void {
  let waiting: { readonly asked: A } | undefined;
  let busy = false;
  return async asked => {
    waiting = { asked };
    if (busy) return;
    busy = true;
    while (waiting) {
      const next: A = waiting.asked;
      waiting = undefined;
      await run(next).catch(fail);
    }
    busy = false;
  };
}

/** Calls when nothing more has come for a while. */
export function settled(call: () => void, milliseconds: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}

/** Lets the page do what it has to do before the next piece of long work. */
export const breath = (): Promise<void> => new Promise(resolve => setTimeout(resolve));
