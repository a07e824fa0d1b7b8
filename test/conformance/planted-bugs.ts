/** Which cases of the conformance suite are run on which planted bug. */
import type { Broken } from '../../src/conformance/broken/index.ts';
import type { Case, Profile } from '../../src/conformance/case.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { conformance } from '../../src/conformance/suite.ts';

const stored = goldens();

/** All cases, made for a bug; `isSought` says which of them are run. */
export const casesOf = ({ backend }: Broken, profile: Profile) =>
  conformance(backend, { profile, goldens: stored, threads: [1, 2] });

/**
 * On a bug in the kernel of one op: all cases of that op, and the quick ones of whole plans. On any other bug: all but the
 * slower sizes.
 */
export const isSought = ({ op }: Broken, { address, ops, quick }: Case): boolean =>
  op ? ops.includes(op) && (quick || address.startsWith('op/')) : quick || !address.includes('/sweep/');
