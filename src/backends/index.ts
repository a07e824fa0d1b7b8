/** The backends, by name. `cuda` is not among them: it takes Node, and what can be loaded in a page imports this file. */
import type { Backend } from './backend.ts';
import { reference } from './reference.ts';
import { wasm } from './wasm/index.ts';
import { best } from './wasm/variants.ts';

export const backends: Readonly<Record<string, Backend>> = { reference, wasm };
/** All names that the command line and `load` know. */
export const backendNames: readonly string[] = [...Object.keys(backends), 'cuda'];
/** wasm, where this engine can run it. */
export const defaultBackend = (): string => (best() ? 'wasm' : 'reference');

/** @throws RangeError listing the backends, where there is none of this name. */
export function backend(name: string): Backend {
  if (!Object.hasOwn(backends, name))
    throw new RangeError(
      `backend '${name}' is not known; expected ${Object.keys(backends).join(', ')}, or, in Node, cuda`,
    );
  return backends[name];
}
