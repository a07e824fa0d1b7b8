/** Starts the lab's worker. */
import * as comlink from 'comlink';
import type { FetchProgress } from 'quamba';
import { reach } from '../remote.ts';
import type { Lab } from './protocol.ts';

export type RemoteLab = comlink.Remote<Lab>;

/** @throws Error in one sentence, where the worker's script or a file of the model does not load. */
export async function openLab(
  url: URL,
  onProgress: (progress: FetchProgress) => void,
): Promise<{ readonly lab: RemoteLab; readonly layers: number }> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'lab' });
  const { api: lab, failed } = reach<Lab>(worker);
  const { layers } = await Promise.race([lab.open(url.href, comlink.proxy(onProgress)), failed]);
  return { lab, layers };
}
