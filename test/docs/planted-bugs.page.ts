/**
 * docs/planted-bugs.md: runs the conformance suite on each planted bug. It takes minutes, so that it is written on demand
 * only; test/conformance/broken.test.ts runs the cases again that the page names.
 *
 *   npm run planted-bugs
 *   ONLY='^scan-' npm run planted-bugs      these rows, and those that are missing; the others stay as they are
 */
import { expect, it } from 'vitest';
import { reference } from '../../src/backends/reference.ts';
import { type Broken, brokenBackends } from '../../src/conformance/broken/index.ts';
import type { Case, Profile } from '../../src/conformance/case.ts';
import { conformance } from '../../src/conformance/suite.ts';
import { sizeOf } from '../../src/tensor.ts';
import { arithmetics, honest } from '../conformance/honest.ts';
import {
  casesOf,
  type Host,
  isCaught,
  ordersOfPage,
  type Row,
  rowsOfPage,
  sizesOf,
} from '../conformance/planted-bugs.ts';
import { cell, code, list, table } from './markdown.ts';

/** How many addresses a cell shows, each of another kind. */
const SHOWN = 3;

/** `golden`, `sweep`, `edge` … of an op's cases, else the family. */
const kindOf = (address: string) =>
  /^op\/.*\/(golden|sweep|width|edge)\//.exec(address)?.[1] ?? address.split('/')[0];

/** A bug that remembers may show in a case only because of another one before it: what is named catches it alone. */
const alone = (broken: Broken, host: Host, profile: Profile) => (one: Case) =>
  isCaught(casesOf(broken, host, profile).find(({ address }) => address === one.address)!);

/** How many values a call is given. */
function sizeOfCall(one: Case): number {
  const { inputs, states } = one.call!();
  return [...Object.values(inputs), ...Object.values(states)].reduce(
    (sum, { shape }) => sum + sizeOf(shape),
    0,
  );
}

/** What the cases of one op say: the smallest call that shows it, and the first case of each kind that does. */
function ofKernel(broken: Broken, profile: Profile): { readonly from: string; readonly cell: string } {
  const sought = casesOf(broken, 'kernel', profile);
  if (profile === 'tolerant' && broken.tolerated && !sought.some(isCaught))
    return { from: '', cell: `passes: ${broken.tolerated}` };
  const holds = alone(broken, 'kernel', profile);
  const calls = sought.filter(one => one.call).map(one => ({ one, size: sizeOfCall(one) }));
  const smallest = calls.sort((a, b) => a.size - b.size).find(({ one }) => isCaught(one) && holds(one))?.one;
  const named = new Set(smallest && [smallest.address]);
  for (const kind of new Set(sought.map(({ address }) => kindOf(address)))) {
    if (named.size === SHOWN) break;
    const first = sought.find(one => kindOf(one.address) === kind && isCaught(one) && holds(one));
    if (first) named.add(first.address);
  }
  return { from: smallest ? sizesOf(smallest) : '', cell: named.size ? list([...named]) : '**not caught**' };
}

/** The first case that shows it, of up to three families. */
function ofPlan(broken: Broken): string {
  const holds = alone(broken, 'plan', 'exact');
  const sought = casesOf(broken, 'plan', 'exact');
  const families = [...new Set(sought.map(({ address }) => kindOf(address)))];
  const named: string[] = [];
  for (const family of families) {
    const first = sought.find(one => kindOf(one.address) === family && isCaught(one) && holds(one));
    if (first) named.push(first.address);
    if (named.length === (broken.op ? 1 : SHOWN)) break;
  }
  return named.length ? list(named) : 'hidden';
}

function rowOf(broken: Broken): Row {
  const { name, says } = broken;
  if (!broken.op && broken.backend.prepare)
    return { name, says, from: '', exact: '', tolerant: '', plan: ofPlan(broken) };
  const { from, cell: exact } = ofKernel(broken, 'exact');
  return { name, says, from, exact, tolerant: ofKernel(broken, 'tolerant').cell, plan: ofPlan(broken) };
}

/** How many calls of an op the plain ops of another arithmetic fail. With ONLY, what the page says of an op stays. */
function ordersOf(op: string): readonly string[] {
  const there = process.env.ONLY === undefined ? undefined : ordersOfPage().get(op);
  if (there) return there;
  return arithmetics.flatMap(arithmetic => {
    const counts = (['exact', 'tolerant'] as const).map(profile => {
      const cases = conformance(honest(arithmetic), { profile }).filter(
        ({ address, quick }) => quick && address.startsWith(`op/${op}/`),
      );
      return { failed: cases.filter(isCaught).length, of: cases.length };
    });
    const [exact, tolerant] = counts;
    return [
      `${exact.failed}, ${tolerant.failed}`,
      ...(arithmetic === arithmetics.at(-1) ? [`${exact.of}`] : []),
    ];
  });
}

it('docs/planted-bugs.md', () => {
  const only = new RegExp(process.env.ONLY ?? '');
  const there = rowsOfPage();
  const rows = brokenBackends.map(broken => {
    const kept = there.get(broken.name);
    if (kept && !only.test(broken.name)) return { ...kept, says: broken.says };
    const row = rowOf(broken);
    console.log(row.name, '|', row.from, '|', row.exact, '|', row.tolerant, '|', row.plan);
    return row;
  });
  const isOfKernel = ({ exact }: Row) => !['', '–'].includes(exact);
  const passes = rows.filter(({ tolerant }) => tolerant.startsWith('passes')).length;
  const hidden = rows.filter(row => row.plan === 'hidden').length;
  const ops = [
    ...new Set(
      conformance(reference)
        .filter(({ call }) => call)
        .map(({ ops: [form] }) => form),
    ),
  ];
  return expect(`# Planted bugs

Backends that are wrong on purpose (\`src/conformance/broken/\`), and the cases of the conformance suite that catch them.
Written by \`npm run planted-bugs\`; a test runs the cases that are named here again.

\`\`\`
quamba conform --list-broken
quamba conform --backend broken:conv-flipped     exits with 1
\`\`\`

The exact profile catches all ${rows.length}. Of the ${rows.filter(isOfKernel).length} that are in kernels the tolerant profile passes ${passes}, which are
within its [bounds](bounds.md): an honest backend rounds as they do.

A bug in a kernel is sought twice: in a backend whose kernels have it and whose plans are right, by the cases of the op, and in one
whose plans have it and whose kernels are right, by the cases of plans. A backend of kernels alone fails both. A cell of the first
has up to ${SHOWN} cases that catch the bug, each of another kind; of the second, the first case that does.
${hidden} are hidden in a plan, which shows neither what a kernel does to its inputs nor what lies next to them. \`shows from\` has the sizes of the
smallest call that caught it, the one that is named first. The sizes of real models are run on those bugs alone that show from some
size on, real models on none.

${table(
  [
    'broken:',
    'what is wrong',
    'shows from',
    'in a kernel, exact',
    'in a kernel, tolerant',
    'in a plan, exact',
  ],
  rows.map(({ name, says, ...cells }) => [
    code(name),
    cell(says),
    ...[cells.from, cells.exact, cells.tolerant, cells.plan].map(text => text || '–'),
  ]),
)}

## What the tolerant profile does not see

Each op, written plainly in another arithmetic, and how many of its quick cases fail in the profiles \`exact\` and \`tolerant\`. Where
the second number is 0, the tolerant profile does not see that order of the sums; where both are 0, every order gives the same bits.
Nor does it see the sign of a zero, or what is below 2⁻¹²⁶.

${table(
  ['op', ...arithmetics.map(({ name }) => name), 'of'],
  ops.map(op => [code(op), ...ordersOf(op)]),
)}
`).toMatchFileSnapshot('../../docs/planted-bugs.md');
});
