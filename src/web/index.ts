/**
 * quamba in a page: the library as in Node, and a `load` whose model lives in a worker.
 *
 *   import { load } from 'quamba';
 *   const model = await load('/models/mamba-books-15m');
 *   for await (const { text } of model.generate('The old man')) output.append(text);
 */
export * from '../library.ts';
export { type FetchOptions, type FetchProgress, type Files, fetchFiles, MODEL_CACHE } from './fetch-files.ts';
export {
  load,
  type WebLoadOptions,
  type WebModel,
  type WebSession,
} from './load.ts';
