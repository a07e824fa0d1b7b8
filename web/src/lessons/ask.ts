/** Work that would hold up the page is done in a worker. */
import * as comlink from 'comlink';

/** Asks a worker one thing, and ends it. */
export async function ask<Api, Answer>(
  worker: Worker,
  question: (api: comlink.Remote<Api>) => Promise<Answer>,
): Promise<Answer> {
  const failure = new Promise<never>((_, reject) => {
    worker.onerror = ({ message }) =>
      reject(new Error(`a worker failed: ${message || 'its script did not load'}`));
  });
  try {
    return await Promise.race([question(comlink.wrap<Api>(worker)), failure]);
  } finally {
    worker.terminate();
  }
}
