/** Every planted bug is caught, and by the cases that docs/planted-bugs.md names. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Broken, broken, brokenBackends } from '../../src/conformance/broken/index.ts';
import type { Profile } from '../../src/conformance/case.ts';
import { casesOf, isSought } from './planted-bugs.ts';

const page = readFileSync(new URL('../../docs/planted-bugs.md', import.meta.url), 'utf8');
/** By the bug's name: what is wrong, and its cells of the two profiles. */
const rows = new Map(
  [...page.matchAll(/^\| `([^`]+)` \| (.*?) \| (.*?) \| (.*?) \|$/gm)].map(
    ([, name, says, exact, tolerant]) => [name, { says: says.replaceAll('\\|', '|'), exact, tolerant }],
  ),
);
const addressesIn = (cell: string): string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, address]) => address);

function outcomes(row: Broken, profile: Profile, addresses: readonly string[]): readonly string[] {
  const cases = new Map(casesOf(row, profile).map(one => [one.address, one]));
  return addresses.map(address => `${address}: ${cases.get(address)?.run().outcome}`);
}
const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const failing = (addresses: readonly string[]) =>
  addresses.map(address => expect.stringMatching(new RegExp(`^${escaped(address)}: (fail|error)$`)));

describe('docs/planted-bugs.md', () => {
  it('has a row for each bug (npm run planted-bugs)', () => {
    const said = [...rows].map(([name, { says }]) => ({ name, says }));
    expect(said).toEqual(brokenBackends.map(({ name, says }) => ({ name, says })));
    expect(new Set(said.map(({ name }) => name)).size).toBe(said.length);
  });

  it('counts the cases that there are', () => {
    for (const row of brokenBackends) {
      const sought = casesOf(row, 'exact').filter(one => isSought(row, one)).length;
      const said = rows.get(row.name)!;
      for (const cell of [said.exact, said.tolerant])
        expect(/^(?:passes|\d+ of) (\d+):/.exec(cell)?.[1], row.name).toBe(String(sought));
    }
  });

  it.each(brokenBackends)('$name is caught in exact by what is named', row => {
    const addresses = addressesIn(rows.get(row.name)!.exact);
    expect(addresses).not.toEqual([]);
    expect(outcomes(row, 'exact', addresses)).toEqual(failing(addresses));
  });

  it.each(brokenBackends.filter(row => !row.tolerated))(
    '$name is caught in tolerant by what is named',
    row => {
      const addresses = addressesIn(rows.get(row.name)!.tolerant);
      expect(addresses).not.toEqual([]);
      expect(outcomes(row, 'tolerant', addresses)).toEqual(failing(addresses));
    },
  );

  it.each(brokenBackends.filter(row => row.tolerated))('$name is within its bounds: $tolerated', row => {
    const { name, op, tolerated } = row;
    expect(rows.get(name)!.tolerant).toMatch(new RegExp(`^passes \\d+: ${escaped(tolerated!)}$`));
    const cases = casesOf(row, 'tolerant').filter(
      ({ address, quick }) => quick && address.startsWith(op ? `op/${op}/` : 'op/'),
    );
    const verdicts = cases.map(({ address, run }) => `${address}: ${run().outcome}`);
    expect(verdicts).toEqual(cases.map(({ address }) => `${address}: pass`));
  });
});

describe('planted bugs', () => {
  it('are known by name', () => {
    expect(() => broken('conv-fliped')).toThrow(
      /^planted bug 'conv-fliped' is not known; expected quantize-/,
    );
    for (const { name } of brokenBackends) expect(broken(name).name).toBe(`broken:${name}`);
  });
});
