/** Many ranges take longer than a page may stand still. */
import * as comlink from 'comlink';
import { type ClipErrors, clipErrors } from './clip-errors.ts';

const api = {
  errors: (u: Float32Array, ps: readonly number[]): readonly ClipErrors[] => ps.map(p => clipErrors(u, p)),
};
export type ClipWorker = typeof api;
comlink.expose(api);
