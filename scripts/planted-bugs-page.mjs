/** docs/planted-bugs.md as text, and which cases it is about. */

/** How many addresses a cell shows, each of another kind. */
const SHOWN = 3;

/**
 * Whether a case is run on a bug: on one in the kernel of an op, all cases of that op and the quick ones of whole plans; on
 * any other, all but the slower sizes.
 */
export const isSought = (op, { address, ops, quick }) =>
  op ? ops.includes(op) && (quick || address.startsWith('op/')) : quick || !address.includes('/sweep/');

/** `golden`, `sweep`, `edge` … of an op's cases, else the family. */
const kindOf = address => address.split('/')[address.startsWith('op/') ? 2 : 0];

/** The first of each kind that `holds`. */
export function examples(addresses, holds) {
  const kinds = [...new Set(addresses.map(kindOf))];
  const first = kind => addresses.find(address => kindOf(address) === kind && holds(address));
  return kinds
    .map(first)
    .filter(address => address)
    .slice(0, SHOWN);
}

function cell({ addresses, named, of }, tolerated) {
  if (addresses.length === 0) return tolerated ? `passes ${of}: ${tolerated}` : `**not caught** by ${of}`;
  return `${addresses.length} of ${of}: ${named.map(address => `\`${address}\``).join(', ')}`;
}

/** `rows`: the planted bugs, each with what its two profiles caught: the addresses, those to be named, and `of` how many. */
export function page(rows) {
  const caughtIn = profile => rows.filter(row => row[profile].addresses.length).length;
  const table = rows.map(
    ({ name, says, exact, tolerant, tolerated }) =>
      `| \`${name}\` | ${says.replaceAll('|', '\\|')} | ${cell(exact)} | ${cell(tolerant, tolerated)} |`,
  );
  return `# Planted bugs

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

| broken: | what is wrong | caught in exact | caught in tolerant |
|---|---|---|---|
${table.join('\n')}
`;
}
