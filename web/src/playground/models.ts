/** Models on demand: one worker a recipe. */
import { type FetchProgress, load, type WebModel } from 'quamba';
import { filesOf, MODEL } from '../model.ts';

export interface Loading {
  readonly model: Promise<WebModel>;
  /** Also while it loads. */
  dispose(): void;
}

/** One after another, so that what two recipes need is fetched once and kept for the second. */
let queue: Promise<unknown> = Promise.resolve();

export function loadRecipe(
  recipe: string,
  threads: number,
  onProgress: (loaded: number, total: number | undefined) => void,
): Loading {
  const controller = new AbortController();
  const model = queue.then(() =>
    load(MODEL, {
      recipe,
      threads,
      files: filesOf(recipe),
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

/** Progress of all files together; the total is unknown while that of one is. */
function inAll(tell: (loaded: number, total: number | undefined) => void) {
  const files = new Map<string, FetchProgress>();
  return (progress: FetchProgress) => {
    files.set(progress.file, progress);
    const all = [...files.values()];
    const total = all.every(file => file.total !== undefined)
      ? all.reduce((sum, file) => sum + file.total!, 0)
      : undefined;
    tell(
      all.reduce((sum, file) => sum + file.loaded, 0),
      total,
    );
  };
}
