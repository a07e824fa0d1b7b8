/**
 * Planted bugs: backends that are wrong on purpose, each in one known way. The suite is as good as the share of them that it
 * finds. docs/planted-bugs.md says which case finds which bug.
 */
import type { Backend } from '../../backends/backend.ts';
import { accumulationBugs } from './accumulation.ts';
import { layoutBugs } from './layout.ts';
import { memoryBugs } from './memory.ts';
import { planBugs } from './plans.ts';
import { roundingBugs } from './rounding.ts';
import type { Broken } from './row.ts';
import { scanBugs } from './scan.ts';
import { stateBugs } from './state.ts';

export type { Broken } from './row.ts';

export const brokenBackends: readonly Broken[] = [
  ...roundingBugs,
  ...accumulationBugs,
  ...layoutBugs,
  ...scanBugs,
  ...stateBugs,
  ...memoryBugs,
  ...planBugs,
];

/** @throws RangeError listing the names, where there is none of this one. */
export function broken(name: string): Backend {
  const found = brokenBackends.find(row => row.name === name);
  if (!found)
    throw new RangeError(
      `planted bug '${name}' is not known; expected ${brokenBackends.map(row => row.name).join(', ')}`,
    );
  return found.backend;
}
