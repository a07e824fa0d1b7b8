/** What docs/planted-bugs.md says that the tolerant profile passes, it passes. */
import { expect, it } from 'vitest';
import { casesOf, inKernels, isCaught, rowsOfPage } from './planted-bugs.ts';

const rows = rowsOfPage();

it.each(inKernels.filter(row => row.tolerated))('$name is within its bounds: $tolerated', row => {
  const { name, op, tolerated } = row;
  const { tolerant } = rows.get(name)!;
  expect(tolerant).toBe(`passes: ${tolerated}`);
  const cases = casesOf(row, 'kernel', 'tolerant').filter(
    ({ address, quick }) => quick && address.startsWith(op ? `op/${op}/` : 'op/'),
  );
  expect(cases.filter(isCaught).map(({ address }) => address)).toEqual([]);
});
