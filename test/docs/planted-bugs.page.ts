/**
 * docs/planted-bugs.md: runs the conformance suite on each planted bug. It takes half an hour, so that it is written on demand
 * only; test/conformance/broken.test.ts runs the cases again that the page names.
 *
 *   npm run planted-bugs
 */
import { expect, it } from 'vitest';
import { type Broken, brokenBackends } from '../../src/conformance/broken/index.ts';
import type { Case, Profile } from '../../src/conformance/case.ts';
import { casesOf, isSought } from '../conformance/planted-bugs.ts';
import { cell, code, list, table } from './markdown.ts';

/** How many addresses a cell shows, each of another kind. */
const SHOWN = 3;

/** What one profile caught of a bug. */
interface Caught {
  readonly count: number;
  /** How many cases could have caught it. */
  readonly of: number;
  /** The addresses that the page names. */
  readonly named: readonly string[];
}

const isCaught = (one: Case | undefined) => ['fail', 'error'].includes(one!.run().outcome);

function caught(broken: Broken, profile: Profile): Caught {
  const sought = casesOf(broken, profile).filter(one => isSought(broken, one));
  const addresses = sought.filter(isCaught).map(({ address }) => address);
  // A bug that remembers may show in a case only because of another one before it: named is what catches it alone.
  const alone = (address: string) => isCaught(casesOf(broken, profile).find(one => one.address === address));
  return { count: addresses.length, of: sought.length, named: examples(addresses, alone) };
}

/** `golden`, `sweep`, `edge` … of an op's cases, else the family. */
const kindOf = (address: string) => address.split('/')[address.startsWith('op/') ? 2 : 0];

/** The first of each kind that `holds`. */
function examples(addresses: readonly string[], holds: (address: string) => boolean): readonly string[] {
  const kinds = [...new Set(addresses.map(kindOf))];
  const first = (kind: string) => addresses.find(address => kindOf(address) === kind && holds(address));
  return kinds
    .map(first)
    .filter(address => address !== undefined)
    .slice(0, SHOWN);
}

function said({ count, of, named }: Caught, tolerated?: string): string {
  if (count === 0) return tolerated ? `passes ${of}: ${tolerated}` : `**not caught** by ${of}`;
  return `${count} of ${of}: ${list(named)}`;
}

it('docs/planted-bugs.md', () => {
  const rows = brokenBackends.map(broken => {
    const row = { ...broken, exact: caught(broken, 'exact'), tolerant: caught(broken, 'tolerant') };
    console.log(`${row.name}: ${row.exact.count}, ${row.tolerant.count} of ${row.exact.of}`);
    return row;
  });
  const caughtIn = (profile: Profile) => rows.filter(row => row[profile].count).length;
  return expect(`# Planted bugs

Backends that are wrong on purpose (\`src/conformance/broken/\`), and the cases of the conformance suite that catch them.
Written by \`npm run planted-bugs\`; a test runs the cases that are named here again.

\`\`\`
quamba conform --list-broken
quamba conform --backend broken:conv-flipped     exits with 1
\`\`\`

Of ${rows.length} bugs the exact profile catches ${caughtIn('exact')}, the tolerant profile ${caughtIn('tolerant')}. The others are
within the [bounds](bounds.md) of that profile: an honest backend rounds as they do.

A cell has how many cases caught the bug, of how many that could, and up to ${SHOWN} of them. A bug in one kernel is sought by all cases
of its op and the quick ones of whole plans, any other by all but some sizes. Cases of real models are not run here.

${table(
  ['broken:', 'what is wrong', 'caught in exact', 'caught in tolerant'],
  rows.map(row => [code(row.name), cell(row.says), said(row.exact), said(row.tolerant, row.tolerated)]),
)}
`).toMatchFileSnapshot('../../docs/planted-bugs.md');
});
