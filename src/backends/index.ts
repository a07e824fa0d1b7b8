/** The backends, by name. */
import type { Backend } from './backend.ts';
import { reference } from './reference.ts';

export const backends: Readonly<Record<string, Backend>> = { reference };

/** @throws RangeError listing the backends, where there is none of this name. */
export function backend(name: string): Backend {
  if (!Object.hasOwn(backends, name))
    throw new RangeError(`backend '${name}' is not known; expected ${Object.keys(backends).join(', ')}`);
  return backends[name];
}
