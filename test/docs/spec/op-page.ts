/** The page of one op: from its definition, its doc comment, its goldens and its cases in the conformance suite. */
import type { Case, Goldens } from '../../../src/conformance/case.ts';
import { forms } from '../../../src/conformance/forms.ts';
import { tolerances } from '../../../src/conformance/judge/bounds.ts';
import { expectedOf } from '../../../src/conformance/judge/judge.ts';
import { type AnyOp, bind } from '../../../src/op.ts';
import { fwht } from '../../../src/ops/fwht.ts';
import { factor } from '../../../src/ops/hadamard.ts';
import { block, cell, code, fenced, list, type Part, page, section, table } from '../markdown.ts';
import { docComment, sentences } from './doc-comment.ts';

/**
 * @param key the op's name in the list of ops
 * @param source the text of its file
 * @param cases those of the whole suite
 */
export function opPage(
  key: string,
  op: AnyOp,
  source: string,
  goldens: Goldens,
  cases: readonly Case[],
): string {
  const file = `src/ops/${op.name}.ts`;
  const { summary, rest, sections } = docComment(source);
  const { Shapes = [], State, Numerics = [], Errors = [], Example = [], Source } = sections;
  return page([
    `# ${op.name}`,
    summary,
    ...rest,
    section('Inputs and outputs', signatures(op), remarks(op, Shapes)),
    section('Attributes', attributes(op)),
    section('State', sentences(State)),
    section('Numerics', sentences(Numerics), lanes(Numerics), op === fwht && matrices()),
    section('Errors', errors(op, Errors)),
    section('Tolerance', tolerance(op, goldens)),
    section('Example', `\`\`\`js\n${Example.join('\n')}\n\`\`\``),
    section('Cases', caseTables(op, cases)),
    section('Source', sentences(Source), `Defined by [${file}](../../${file}) (\`ops.${key}\`).`),
    '---\n[All ops](index.md) · made by `npm run spec`; do not edit',
  ]);
}

/** Shapes that say more than the signatures. */
function remarks(op: AnyOp, lines: readonly string[]): Part {
  const names = [op.inputs, op.outputs, op.states].flatMap(tensors => Object.keys(tensors)).join('|');
  const known = new RegExp(`\\b(?:${names})\\b|\\b(?:f32|i8|i32)\\[[^\\]]*\\]|or absent`, 'g');
  return /[a-z]/.test(lines.join(' ').replace(known, '')) && sentences(lines);
}

const lanes = (lines: readonly string[]): Part =>
  /\blanes\b/.test(lines.join(' ')) && 'How lanes add up: [Numerics](numerics.md#sums).';

/** `f32[d, k-1]?` → type, shape, whether it may be absent. */
function signatures(op: AnyOp): string {
  const rows = (kind: string, tensors: Readonly<Record<string, string>>) =>
    Object.entries(tensors).map(([name, signature]) => {
      const [, dtype, shape, optional] = /^(\w+)(\[.*\])(\??)$/.exec(signature)!;
      return [kind, code(name), code(dtype), code(shape), optional ? 'may be absent' : ''];
    });
  return table(
    ['', 'name', 'type', 'shape', ''],
    [...rows('in', op.inputs), ...rows('out', op.outputs), ...rows('state', op.states)],
  );
}

const attributes = (op: AnyOp): Part =>
  Object.keys(op.attrs).length > 0 &&
  table(
    ['name', 'type', 'default'],
    Object.entries(op.attrs).map(([name, value]) => [code(name), typeof value, code(small(value))]),
  );

const small = (value: unknown) =>
  typeof value === 'number' && value > 0 && value < 1e-3 ? value.toExponential() : value;

/** The numbered constraints: those of the definition, then those on values, which only the comment and the kernel know. */
function errors(op: AnyOp, lines: readonly string[]): string {
  const named = [...lines.join(' ').matchAll(/(C\d+) ((?!…)[^,].*?)(?=, C\d|$)/g)];
  const onValues = named.filter(([, label]) => !(label in op.constraints));
  const rows = [
    ...Object.entries(op.constraints).map(([label, [text]]) => [label, cell(text)]),
    ...onValues.map(([, label, text]) => [label, `${cell(text)}, found when the values are read`]),
  ];
  return rows.length ? table(['', 'must hold'], rows) : 'None beyond the types and shapes above.';
}

/** The base matrices of the Hadamard transform. */
const matrices = (): string =>
  [12, 20, 28]
    .map(K => {
      const rows = factor(K)!.base.map(signs => signs.map(sign => (sign > 0 ? '+' : '−')).join(' '));
      return `M_${K}, row i and column j from the top left:\n\n${fenced(rows.join('\n'))}`;
    })
    .join('\n\n');

/** The formulas of an op's stored calls, each once. */
function tolerance(op: AnyOp, goldens: Goldens): string {
  const label = (form: string, output: string) =>
    form === op.name ? code(output) : `${code(output)} of ${code(form)}`;
  const found = new Map(
    formsOf(op).flatMap(form =>
      Object.keys({ ...op.outputs, ...op.states }).map(output => [label(form, output), new Set<string>()]),
    ),
  );
  for (const { form, read } of goldens.filter(golden => formsOf(op).includes(golden.form))) {
    const { inputs, attrs, kept } = read();
    const call = bind(op, inputs, attrs, kept);
    for (const [output, { formula }] of Object.entries(tolerances(op, call, expectedOf(op, call))))
      found.get(label(form, output))!.add(formula);
  }
  const rows = [...found].flatMap(([output, formulas]) =>
    [...formulas].map(formula => [output, cell(formula)]),
  );
  return block([
    'In the `exact` profile: the bits of the reference. In `tolerant` ([why](../bounds.md)), with u = 2⁻²⁴ and τ = 2⁻¹²⁶:',
    table(['output', 'each element may be off by'], rows),
  ]);
}

/** Cases by what they are for: the names of those that share it, which follow `prefix`, or their whole addresses. */
function reasons(cases: readonly Case[], prefix: string): string {
  const by = new Map<string, string[]>();
  for (const { address, says } of cases) {
    const name = address.startsWith(prefix) ? address.slice(prefix.length) : address;
    by.set(says, [...(by.get(says) ?? []), name]);
  }
  const byNumber = (a: string, b: string) => a.localeCompare(b, 'en', { numeric: true });
  return table(
    ['case', 'what for'],
    [...by].map(([says, names]) => [list(names.sort(byNumber)), cell(says)]),
  );
}

/** The op's own name, and one for each other way to keep its states: `selective-scan/f16`. */
const formsOf = (op: AnyOp): readonly string[] =>
  forms.filter(form => form.op.name === op.name).map(({ name }) => name);

function caseTables(op: AnyOp, cases: readonly Case[]): string {
  const sizes = Object.entries(op.sweep).map(([letter, values]) => `${code(letter)} ${values.join(', ')}`);
  const tables = formsOf(op).map(form => {
    const alone = cases.filter(
      ({ ops, address }) => ops.length === 1 && ops[0] === form && !address.startsWith('alone/'),
    );
    const family = (name: string) => `op/${form}/${name}/`;
    const within = (name: string) => alone.filter(({ address }) => address.startsWith(family(name)));
    const [stored, sweeps, widths] = [within('golden'), within('sweep'), within('width')];
    const rest = alone.filter(made => ![...stored, ...sweeps, ...widths].includes(made));
    return block([
      form !== op.name && `### ${form}`,
      `Stored calls, with PyTorch's results, in [golden/${op.name}](../../golden/${op.name}); addresses ${code(`${family('golden')}CASE`)}:`,
      reasons(stored, family('golden')),
      rest.length > 0 && `Calls that are made; addresses ${code(`${family('edge')}CASE`)}, or as they stand:`,
      rest.length > 0 && reasons(rest, family('edge')),
      `And ${sweeps.length} sizes, ${code(sweeps[0].address)} to ${code(sweeps.at(-1)!.address)}: every combination of
${sizes.join(' · ')}, and sizes next to the tiles that kernels are made of.`,
      `And ${widths.length} sizes of real models, ${code(widths[0].address)} to ${code(widths.at(-1)!.address)}; these and the edges of zeros
and exponents also as plans of the op alone, ${code(`alone/${form}/…`)}.`,
      `One case alone: \`quamba conform --backend … --case ${alone[0].address}\`.`,
    ]);
  });
  return block(tables);
}
