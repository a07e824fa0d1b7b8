/** Opens what `--backend` names. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Backend } from '../backends/backend.ts';
import { requireCuda } from '../backends/cuda/index.ts';
import { execBackend } from '../backends/exec/index.ts';
import { backend } from '../backends/index.ts';
import { broken } from '../conformance/broken/index.ts';
import { isObject } from '../formats/json.ts';
import { UsageError, usage } from './terminal.ts';

export interface OpenBackend {
  readonly backend: Backend;
  /** What it runs on, where that is not this machine's processor. */
  readonly device?: string;
  /** Ends what was started for it. */
  dispose(): void;
}

/**
 * `wasm`, `cuda`, `./mine.mjs`, `exec:COMMAND` or `broken:NAME`. `timeout`: milliseconds that a command may take for one call.
 *
 * @throws UsageError where there is no such backend, or it does not start.
 */
export async function openBackend(name: string, timeout: number): Promise<OpenBackend> {
  const [, kind, rest] = /^(exec|broken):(.*)$/s.exec(name) ?? [];
  if (kind === 'exec') {
    const made = usage(() => execBackend(rest, { timeout }));
    return { backend: made, dispose: made.dispose };
  }
  if (name === 'cuda') {
    const { backend, about } = usage(requireCuda);
    return { backend, device: `${about.device.name}, sm_${about.device.sm}`, dispose: () => {} };
  }
  const made =
    kind === 'broken'
      ? usage(() => broken(rest))
      : /^\.{0,2}[\\/]|\.m?js$/.test(name)
        ? await fromModule(name)
        : usage(() => backend(name));
  return { backend: made, dispose: () => {} };
}

async function fromModule(path: string): Promise<Backend> {
  let module: { readonly default?: unknown };
  try {
    module = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    throw new UsageError(`--backend ${path}: cannot be loaded: ${(error as Error).message.split('\n')[0]}`);
  }
  const made = module.default;
  if (!isObject(made) || typeof made.name !== 'string' || typeof made.kernelOf !== 'function')
    throw new UsageError(
      `--backend ${path}: expected a default export { name, kernelOf(op) }; got ${made === undefined ? 'none' : typeof made}`,
    );
  return made as unknown as Backend;
}
