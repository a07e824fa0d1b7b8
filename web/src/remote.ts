/** Work that would hold up the page is done in a worker. */
import * as comlink from 'comlink';

export interface Reached<Api> {
  readonly api: comlink.Remote<Api>;
  /** Rejects when the worker fails, in one sentence: to be raced with an answer, which would then never come. */
  readonly failed: Promise<never>;
}

export function reach<Api>(worker: Worker): Reached<Api> {
  const failed = new Promise<never>((_, reject) => {
    worker.onerror = event => {
      event.preventDefault();
      reject(new Error(`A worker of this page failed: ${event.message || 'its script did not load'}.`));
    };
  });
  return { api: comlink.wrap<Api>(worker), failed };
}

/** Asks a worker one thing, and ends it. */
export async function ask<Api, Answer>(
  worker: Worker,
  question: (api: comlink.Remote<Api>) => Promise<Answer>,
): Promise<Answer> {
  const { api, failed } = reach<Api>(worker);
  try {
    return await Promise.race([question(api), failed]);
  } finally {
    worker.terminate();
  }
}
