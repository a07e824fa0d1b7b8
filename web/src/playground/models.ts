/** Models on demand: one worker a recipe. */
import { type FetchProgress, load, type WebModel } from 'quamba';
import { MODEL, MODEL_URL } from '../chosen-model.ts';
import { filesOf } from '../model.ts';

export interface Loading {
  readonly model: Promise<WebModel>;
  /** Also while it loads. */
  dispose(): void;
}

/** One after another, so that what two recipes need is fetched once and kept for the second. */
let queue: Promise<unknown> = Promise.resolve();

export function loadRecipe(recipe: string, threads: number, onProgress: (bytes: number) => void): Loading {
  const controller = new AbortController();
  const model = queue.then(() =>
    load(MODEL_URL, {
      recipe,
      threads,
      files: filesOf(MODEL, recipe),
      onProgress: inAll(onProgress),
      signal: controller.signal,
    }),
  );
  queue = model.catch(() => {});
  return {
    model,
    dispose() {
      controller.abort();
      model.then(
        ready => ready.dispose(),
        () => {},
      );
    },
  };
}

/** Bytes of all files together. */
function inAll(tell: (bytes: number) => void) {
  const files = new Map<string, number>();
  return ({ file, loaded }: FetchProgress) => {
    files.set(file, loaded);
    tell([...files.values()].reduce((sum, bytes) => sum + bytes));
  };
}
