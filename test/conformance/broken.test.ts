/** Every planted bug is caught, in a kernel and in a plan, and by the cases that docs/planted-bugs.md names. */
import { describe, expect, it } from 'vitest';
import { broken, brokenBackends } from '../../src/conformance/broken/index.ts';
import type { Case } from '../../src/conformance/case.ts';
import { casesOf, inKernels, isCaught, rowsOfPage, sizesOf } from './planted-bugs.ts';

const rows = rowsOfPage();
const addressesIn = (cell: string): string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, address]) => address);

/** The named ones of the cases that do not catch it. */
function missed(cases: readonly Case[], cell: string): readonly string[] {
  const byAddress = new Map(cases.map(one => [one.address, one]));
  const named = addressesIn(cell);
  expect(named).not.toEqual([]);
  return named.filter(address => !isCaught(byAddress.get(address)!));
}

/** What a plan does not show: what a kernel does to its inputs, to old values of its outputs, and next to them. */
const HIDDEN = [
  'linear-accumulates',
  'add-into-its-input',
  'fwht-in-place',
  'rms-norm-reads-past-the-end',
  'slice-writes-past-the-end',
];
const inPlans = brokenBackends.filter(({ name }) => !HIDDEN.includes(name));

describe('docs/planted-bugs.md', () => {
  it('has a row for each bug (npm run planted-bugs)', () => {
    const said = [...rows.values()].map(({ name, says }) => ({ name, says }));
    expect(said).toEqual(brokenBackends.map(({ name, says }) => ({ name, says })));
    expect(new Set(said.map(({ name }) => name)).size).toBe(said.length);
  });

  it.each(inKernels)(
    '$name in a kernel is caught in exact by what is named, from the size that is said',
    row => {
      const { exact, from } = rows.get(row.name)!;
      const cases = casesOf(row, 'kernel', 'exact');
      expect(missed(cases, exact)).toEqual([]);
      const [smallest] = addressesIn(exact);
      const first = cases.find(({ address }) => address === smallest)!;
      expect(first.call ? sizesOf(first) : '–').toBe(from);
    },
  );

  it.each(inKernels.filter(row => !row.tolerated))(
    '$name in a kernel is caught in tolerant by what is named',
    row => expect(missed(casesOf(row, 'kernel', 'tolerant'), rows.get(row.name)!.tolerant)).toEqual([]),
  );

  it.each(inPlans)('$name in a plan is caught in exact by what is named', row =>
    expect(missed(casesOf(row, 'plan', 'exact'), rows.get(row.name)!.plan)).toEqual([]),
  );

  it.each(HIDDEN)('%s is hidden in a plan', name => expect(rows.get(name)!.plan).toBe('hidden'));
});

describe('planted bugs', () => {
  it('are known by name', () => {
    expect(() => broken('conv-fliped')).toThrow(
      /^planted bug 'conv-fliped' is not known; expected quantize-/,
    );
    for (const { name } of brokenBackends) expect(broken(name).name).toBe(`broken:${name}`);
  });
});
