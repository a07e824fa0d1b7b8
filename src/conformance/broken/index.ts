/**
 * Planted bugs: backends that are wrong on purpose, each in one known way. The suite is as good as the share of them that it
 * finds. docs/planted-bugs.md says which case finds which bug.
 */
import type { Backend } from '../../backends/backend.ts';
import { accumulationBugs } from './accumulation.ts';
import { attentionBugs } from './attention.ts';
import { dynamicBugs } from './dynamic.ts';
import { endBugs } from './ends.ts';
import { layoutBugs } from './layout.ts';
import { memoryBugs } from './memory.ts';
import { planBugs } from './plans.ts';
import { roundingBugs } from './rounding.ts';
import type { Broken } from './row.ts';
import { scanBugs } from './scan.ts';
import { sizeBugs } from './sizes.ts';
import { ssdBugs } from './ssd.ts';
import { stateBugs } from './state.ts';

export type { Broken } from './row.ts';

const SIGN_OF_ZERO = '−0 and +0 are equal numbers';

/** What the tolerant profile does not find, and why: the errors are below its bounds. */
const TOLERATED: Readonly<Record<string, string>> = {
  'linear-i8-scales-one-by-one': 'as many roundings as the reference has',
  'minus-zero-lost': SIGN_OF_ZERO,
  'denormals-flushed': 'accelerators flush; nothing in a model depends on what is below 2⁻¹²⁶',
  'linear-fma': 'fewer roundings than the reference has',
  'linear-one-lane': 'as many roundings as the reference has, in another order',
  'rms-norm-one-lane': 'the order of a sum, and one division in place of two roundings',
  'scale-channels-by-reciprocal': 'two roundings in place of one, less than a division may cost',
  'scan-one-lane': 'the order of a sum, and an exp as good as the reference’s',
  'scan-fma': 'fewer roundings than the reference has',
  'ssd-one-lane': 'the order of a sum',
  'ssd-fma': 'fewer roundings than the reference has',
  'ssd-dynamic-step-of-24-digits': 'far less than the step that one rounding to the other side costs',
  'ssd-dynamic-no-floor': 'what it keeps is off by less than a step',
  'ssd-dynamic-rounds-once': 'fewer roundings than the reference has',
  'ssd-dynamic-minus-zero': SIGN_OF_ZERO,
  'gated-norm-lanes-begin-again': 'the order of a sum',
  'attention-scales-the-query': 'as many roundings as the reference has',
  'attention-running-maximum': 'a few more roundings, of which each block has one',
  'attention-blocks-of-the-call': 'the order of a sum',
  'attention-blocks-of-64': 'the order of a sum',
  'attention-weights-in-one-sum': 'the order of a sum',
  'attention-one-lane': 'the order of a sum',
  'attention-divides-first': 'a division more for each weight',
  'rope-fma': 'fewer roundings than the reference has',
  'squared-relu-minus-zero': SIGN_OF_ZERO,
  'rms-norm-long-in-one-lane': 'the order of a sum, and one division in place of two roundings',
  'fwht-long-runs': 'the order of the sums',
  'conv-from-zero': SIGN_OF_ZERO,
  'fwht-from-zero': SIGN_OF_ZERO,
  'scan-lanes-from-first': SIGN_OF_ZERO,
  'linear-copies-the-bias': SIGN_OF_ZERO,
  'linear-i8-copies-the-bias': SIGN_OF_ZERO,
  'conv-silu-linear-from-16': 'off by 10⁻⁷ of the value, which is what two roundings cost',
  'scan-silu-linear-from-16': 'off by 10⁻⁷ of the value, which is what two roundings cost',
};

export const brokenBackends: readonly Broken[] = [
  ...roundingBugs,
  ...accumulationBugs,
  ...layoutBugs,
  ...scanBugs,
  ...ssdBugs,
  ...attentionBugs,
  ...dynamicBugs,
  ...stateBugs,
  ...memoryBugs,
  ...sizeBugs,
  ...endBugs,
  ...planBugs,
].map(row => (row.name in TOLERATED ? { ...row, tolerated: TOLERATED[row.name] } : row));

/** @throws RangeError listing the names, where there is none of this one. */
export function broken(name: string): Backend {
  const found = brokenBackends.find(row => row.name === name);
  if (!found)
    throw new RangeError(
      `planted bug '${name}' is not known; expected ${brokenBackends.map(row => row.name).join(', ')}`,
    );
  return found.backend;
}
