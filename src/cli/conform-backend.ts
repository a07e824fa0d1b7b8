/** Opens what `--backend` names. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Backend } from '../backends/backend.ts';
import { execBackend } from '../backends/exec/index.ts';
import { type OpenBackend, openBackend } from '../backends/node.ts';
import { broken } from '../conformance/broken/index.ts';
import { isObject } from '../formats/json.ts';
import { UsageError, usage } from './terminal.ts';

/** A backend to be judged. */
interface Judged extends OpenBackend {
  /** Ends what was started for it. */
  dispose(): void;
}

/**
 * `wasm`, `cuda`, `./mine.mjs`, `exec:COMMAND` or `broken:NAME`. `timeout`: milliseconds that a command may take for one call.
 *
 * @throws UsageError where there is no such backend, or it does not start.
 */
export async function openJudged(name: string, timeout: number): Promise<Judged> {
  const [, kind, rest] = /^(exec|broken):(.*)$/s.exec(name) ?? [];
  const dispose = () => {};
  if (kind === 'exec') {
    const backend = usage(() => execBackend(rest, { timeout }));
    return { backend, dispose: backend.dispose };
  }
  if (kind === 'broken') return { backend: usage(() => broken(rest)), dispose };
  if (/^\.{0,2}[\\/]|\.m?js$/.test(name)) return { backend: await fromModule(name), dispose };
  return { ...usage(() => openBackend(name)), dispose };
}

async function fromModule(path: string): Promise<Backend> {
  let module: { readonly default?: unknown };
  try {
    module = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--backend ${path}: cannot be loaded: ${why.split('\n')[0]}`);
  }
  const made = module.default;
  if (!isObject(made) || typeof made.name !== 'string' || typeof made.kernelOf !== 'function')
    throw new UsageError(
      `--backend ${path}: expected a default export { name, kernelOf(op) }; got ${made === undefined ? 'none' : typeof made}`,
    );
  return made as unknown as Backend;
}
