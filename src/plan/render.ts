/**
 * A program as an aligned table, one line a node: what `quamba inspect --plan` prints, and what tests keep snapshots of.
 */
import { plain } from '../formats/json.ts';
import type { Node, OpNode, Program, Ref } from '../graph.ts';
import { describe, sizeOf } from '../tensor.ts';
import { inferTypes } from './types.ts';

/** One line of the table, as data. */
export interface Row {
  readonly value: Ref;
  readonly type: string;
  readonly op: string;
  /** The fused node it belongs to, if any: its name and its place among the plan's nodes. */
  readonly fused?: { readonly name: string; readonly node: number };
  readonly inputs: Readonly<Record<string, Ref>>;
  /** What it carries from call to call, with its type: how it is kept. */
  readonly states: Readonly<Record<string, { readonly ref: Ref; readonly type: string }>>;
  /** The values of those inputs that are single constants: the static scales. */
  readonly scalars: Readonly<Record<string, number>>;
  readonly attrs: Readonly<Record<string, number | boolean | string>>;
}

/** The nodes as rows. The inputs of an op are listed by their names in its file. */
export function rows(program: Program): readonly Row[] {
  const { graph, weights } = program;
  const types = inferTypes(graph);
  const isScalar = (ref: Ref) => sizeOf(graph.weights.get(ref)?.shape ?? [0]) === 1;
  const scalarsOf = (inputs: Row['inputs']) => {
    const scalars = Object.entries(inputs).filter(([, ref]) => isScalar(ref));
    return Object.fromEntries(scalars.map(([key, ref]) => [key, weights.read(ref).data[0]]));
  };
  const typeOf = (ref: Ref) => describe(types.get(ref)!);
  const statesOf = (refs: OpNode['states']): Row['states'] =>
    Object.fromEntries(
      Object.entries(refs).map(([key, ref]) => [key, { ref, type: describe(graph.states.get(ref)!) }]),
    );
  const opRow = ({ op, in: inputs, states: refs, attrs, out }: OpNode): Row => {
    const [value] = Object.values(out);
    const [type, states, scalars] = [typeOf(value), statesOf(refs), scalarsOf(inputs)];
    return { value, type, op: op.name, inputs, states, scalars, attrs };
  };
  return graph.nodes.flatMap((node: Node, i): readonly Row[] => {
    if (node.kind === 'op') return [opRow(node)];
    if (node.kind === 'fused')
      return node.body.map(inner => ({ ...opRow(inner), fused: { name: node.name, node: i } }));
    const none = { states: {}, scalars: {}, attrs: {} };
    const { out: value, site, in: x } = node;
    return [{ value, type: typeOf(value), op: `site ${site}`, inputs: { x }, ...none }];
  });
}

/** The table, `cells` as text. */
export const render = (program: Program): string => align(cells(program));

/** A heading, then a line of cells for each row. Lines of a fused node are joined by a bracket that carries its name. */
export function cells(program: Program): readonly (readonly string[])[] {
  const table = rows(program);
  const lines = table.map((row, i) => {
    const first = row.fused?.node !== table[i - 1]?.fused?.node;
    const last = row.fused?.node !== table[i + 1]?.fused?.node;
    const bracket = row.fused === undefined ? '' : first ? `┌ ${row.fused.name}` : last ? '└' : '│';
    const attrs = Object.entries(row.attrs).map(([key, value]) => `${key}=${value}`);
    const inputs = Object.entries(row.inputs).map(([key, ref]) =>
      key in row.scalars ? `${key}: ${ref} = ${row.scalars[key].toPrecision(4)}` : `${key}: ${ref}`,
    );
    const states = Object.entries(row.states).map(([key, { ref, type }]) => `${key} = ${ref} ${type}`);
    return [row.value, row.type, row.op, bracket, [...inputs, ...attrs].join('  '), states.join('  ')];
  });
  return [['value', 'type', 'op', 'fused', 'inputs', 'states'], ...lines];
}

/** Characters. Ours have less; a name of megabytes would make every line as long. */
const MOST_OF_CELL = 2000;
/** A name from a file cannot break out of its cell. */
const shown = (cell: string): string => plain(cell, MOST_OF_CELL);

/**
 * The table in no more than `most` columns, an entry for the heading and each row: where lines would be longer, the inputs and states
 * of a row stand in lines below it.
 */
export function folded(program: Program, most: number): readonly string[] {
  const table = cells(program);
  const whole = align(table).split('\n');
  if (whole.every(line => line.length <= most)) return whole;
  const heads = align(table.map(row => row.slice(0, 4))).split('\n');
  return table.map((row, i) => {
    const lines = [heads[i]];
    for (const part of row.slice(4).flatMap(cell => shown(cell).split('  ')))
      if (part !== '' && lines.length > 1 && `${lines.at(-1)}  ${part}`.length <= most)
        lines[lines.length - 1] += `  ${part}`;
      else if (part !== '') lines.push(`    ${part}`);
    return lines.join('\n');
  });
}

/** Columns padded to equal width, two spaces between; empty columns left out. */
export function align(cells: readonly (readonly string[])[]): string {
  const used = cells[0].map((_, column) => cells.slice(1).some(row => row[column] !== ''));
  const kept = cells.map(row => row.filter((_, column) => used[column]).map(shown));
  const widths = kept[0].map((_, column) => Math.max(...kept.map(row => row[column].length)));
  const padded = kept.map(row => row.map((cell, i) => cell.padEnd(widths[i])).join('  '));
  return padded.map(line => line.trimEnd()).join('\n');
}
