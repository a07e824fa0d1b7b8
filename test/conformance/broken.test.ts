/** Every planted bug is caught, and by the cases that docs/planted-bugs.md names. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { broken, brokenBackends } from '../../src/conformance/broken/index.ts';
import type { Case, Profile } from '../../src/conformance/case.ts';
import { goldens } from '../../src/conformance/goldens.ts';
import { conformance } from '../../src/conformance/suite.ts';

const { isSought } = (await import(new URL('../../scripts/planted-bugs-page.mjs', import.meta.url).href)) as {
  isSought(op: string | undefined, one: Case): boolean;
};

const page = readFileSync(new URL('../../docs/planted-bugs.md', import.meta.url), 'utf8');
/** By the bug's name: what is wrong, and its cells of the two profiles. */
const rows = new Map(
  [...page.matchAll(/^\| `([^`]+)` \| (.*?) \| (.*?) \| (.*?) \|$/gm)].map(
    ([, name, says, exact, tolerant]) => [name, { says: says.replaceAll('\\|', '|'), exact, tolerant }],
  ),
);
const addressesIn = (cell: string): string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, address]) => address);

const casesOf = (name: string, profile: Profile) =>
  conformance(broken(name), { profile, goldens: goldens(), threads: [1, 2] });

function outcomes(name: string, profile: Profile, addresses: readonly string[]): readonly string[] {
  const cases = new Map(casesOf(name, profile).map(one => [one.address, one]));
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
    for (const { name, op } of brokenBackends) {
      const sought = casesOf(name, 'exact').filter(one => isSought(op, one)).length;
      const said = rows.get(name)!;
      for (const cell of [said.exact, said.tolerant])
        expect(/^(?:passes|\d+ of) (\d+):/.exec(cell)?.[1], name).toBe(String(sought));
    }
  });

  it.each(brokenBackends.map(({ name }) => name))('%s is caught in exact by what is named', name => {
    const addresses = addressesIn(rows.get(name)!.exact);
    expect(addresses).not.toEqual([]);
    expect(outcomes(name, 'exact', addresses)).toEqual(failing(addresses));
  });

  it.each(brokenBackends.flatMap(row => (row.tolerated ? [] : row.name)))(
    '%s is caught in tolerant by what is named',
    name => {
      const addresses = addressesIn(rows.get(name)!.tolerant);
      expect(addresses).not.toEqual([]);
      expect(outcomes(name, 'tolerant', addresses)).toEqual(failing(addresses));
    },
  );

  it.each(
    brokenBackends.flatMap(({ name, op, tolerated }) => (tolerated ? [[name, tolerated, op] as const] : [])),
  )('%s is within its bounds: %s', (name, reason, op) => {
    expect(rows.get(name)!.tolerant).toMatch(new RegExp(`^passes \\d+: ${escaped(reason)}$`));
    const cases = casesOf(name, 'tolerant').filter(
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
