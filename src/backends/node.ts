/**
 * The backends that Node has: those that run anywhere, and those that take something which a machine may not have. A further
 * one of these is one more line in `optional`.
 */
import type { Backend } from './backend.ts';
import { cuda } from './cuda/index.ts';
import { backends, unknownBackend } from './index.ts';

export interface OpenBackend {
  readonly backend: Backend;
  /** What it runs on, where that is not this machine's processor. */
  readonly device?: string;
}
interface FoundBackend extends OpenBackend {
  readonly device: string;
  /** What `quamba doctor` tells of it: as JSON, and in words. */
  readonly about: object;
  readonly says: string;
}

/** What opens a backend; or why this machine has none, in one sentence. */
export const optional: Readonly<Record<string, () => FoundBackend | { readonly why: string }>> = {
  cuda: openCuda,
};

/** All names that the command line and `load` know. */
export const backendNames: readonly string[] = [...Object.keys(backends), ...Object.keys(optional)];

/** @throws RangeError listing the backends, where there is none of this name; Error why this machine does not have it. */
export function openBackend(name: string): OpenBackend {
  if (Object.hasOwn(backends, name)) return { backend: backends[name] };
  if (!Object.hasOwn(optional, name)) throw unknownBackend(name, backendNames);
  const found = optional[name]();
  if ('why' in found) throw new Error(`backend ${name}: ${found.why}`);
  return found;
}

function openCuda(): FoundBackend | { readonly why: string } {
  const found = cuda();
  if ('why' in found) return found;
  const { backend, about } = found;
  const device = `${about.device.name}, sm_${about.device.sm}`;
  const memory = `${(about.device.memory / 1e9).toFixed(1)} GB`;
  return {
    backend,
    device,
    about,
    says: `${device}, ${memory}; ${about.library}, built for ${about.builtFor}`,
  };
}
