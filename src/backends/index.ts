/** The backends that run anywhere, by name. A page may import this file; those that take Node are in node.ts. */
import type { Backend } from './backend.ts';
import { reference } from './reference.ts';
import { wasm } from './wasm/index.ts';
import { best } from './wasm/variants.ts';

export const backends: Readonly<Record<string, Backend>> = { reference, wasm };
/** wasm, where this engine can run it. */
export const defaultBackend = (): string => (best() ? 'wasm' : 'reference');

/** @throws RangeError listing the backends, where there is none of this name. */
export function backend(name: string): Backend {
  if (!Object.hasOwn(backends, name)) throw unknownBackend(name, Object.keys(backends));
  return backends[name];
}

export const unknownBackend = (name: string, known: readonly string[]): RangeError =>
  new RangeError(`backend '${name}' is not known; expected ${known.join(', ')}`);
