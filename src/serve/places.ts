/** Admits so many at once; some more wait in a queue, the first first; whoever comes then is turned away. */
export interface Places {
  /**
   * Resolves to what gives the place back.
   *
   * @param isMore of somebody who was admitted before, who may wait in any case
   * @throws Full where nobody else may wait; the signal's reason.
   */
  take(signal: AbortSignal, isMore?: boolean): Promise<() => void>;
  readonly taken: number;
  readonly waiting: number;
}

export class Full extends Error {
  /** Seconds until a place may be free, from how long those took that ended last. */
  readonly retryAfter: number;
  constructor(retryAfter: number) {
    super('the server has as many requests as it takes; try again later');
    this.retryAfter = retryAfter;
  }
}

/** The weight of the last in the mean of how long a place was held. */
const RECENT = 0.2;

export function places(count: number, queue: number): Places {
  const waiting = new Set<() => void>();
  let taken = 0;
  /** Seconds. */
  let held = 1;
  const begin = (): (() => void) => {
    const since = performance.now();
    taken++;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      taken--;
      held += RECENT * ((performance.now() - since) / 1000 - held);
      for (const next of waiting) {
        next();
        break;
      }
    };
  };
  return {
    take: (signal, isMore = false) =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted();
        if (taken < count) return resolve(begin());
        if (waiting.size >= queue && !isMore)
          throw new Full(Math.max(1, Math.ceil((held * (waiting.size + 1)) / count)));
        const leave = () => {
          waiting.delete(next);
          reject(signal.reason);
        };
        const next = () => {
          waiting.delete(next);
          signal.removeEventListener('abort', leave);
          resolve(begin());
        };
        waiting.add(next);
        signal.addEventListener('abort', leave, { once: true });
      }),
    get taken() {
      return taken;
    },
    get waiting() {
      return waiting.size;
    },
  };
}
