/** The backends, by name. */
import type { Backend } from './backend.ts';
import { reference } from './reference.ts';
import { wasm } from './wasm/index.ts';

export const backends: Readonly<Record<string, Backend>> = { reference, wasm };
export const DEFAULT_BACKEND = 'wasm';

/** @throws RangeError listing the backends, where there is none of this name. */
export function backend(name: string): Backend {
  if (!Object.hasOwn(backends, name))
    throw new RangeError(`backend '${name}' is not known; expected ${Object.keys(backends).join(', ')}`);
  return backends[name];
}
