/**
 * A plan as a table of instructions, and the place of everything that they read and write:
 *
 *   BASE │ weights │ states │ table │ values, by lifetime │ scratch │
 *        ╰─── do not depend on how many rows ───╯╰── laid out anew for `rows` ──╯
 */
import {
  type Node,
  type OpNode,
  type Ref,
  reads,
  type ValueType,
  valuesOf,
  type Weights,
} from '../../graph.ts';
import { type AnyOp, bind, parse } from '../../op.ts';
import { type DType, sizeOf, type Tensor } from '../../tensor.ts';
import { type Call, instructions, type Operand, type StatePadding } from './instructions.ts';
import { aligned, arrange, type Lifetime, rowBytes } from './memory.ts';
import { BASE } from './module.ts';
import { INSTRUCTION_BYTES } from './opcodes.ts';
import { type Packing, vector } from './pack.ts';

/** What is to be run: nodes (not fused), and the types of the values between them. */
export interface Plan {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Ref[];
  readonly results: readonly Ref[];
  readonly states: readonly Ref[];
  readonly types: ReadonlyMap<Ref, ValueType>;
  readonly weights: Weights;
}

export interface Instruction {
  readonly node: OpNode;
  readonly operands: readonly Operand[];
}
/** A site, to be looked at after so many instructions. */
export interface Stop {
  readonly site: string;
  readonly ref: Ref;
  readonly after: number;
}
export interface PlacedWeight {
  readonly ref: Ref;
  readonly at: number;
  readonly packing: Packing;
  readonly read?: () => Tensor;
}
export interface PlacedState {
  readonly at: number;
  readonly padding: StatePadding;
}
/** The table for a number of rows, and where the values are. */
export interface Layout {
  readonly rows: number;
  readonly table: Int32Array;
  readonly end: number;
  address(ref: Ref): number;
}
export interface Assembled {
  readonly instructions: readonly Instruction[];
  readonly stops: readonly Stop[];
  readonly weights: readonly PlacedWeight[];
  readonly states: ReadonlyMap<Ref, PlacedState>;
  /** The address of the table. */
  readonly at: number;
  layout(rows: number): Layout;
}

/** @throws Error for an op that has no kernel; what `bind` throws for one whose inputs do not fit. */
export function assemble(plan: Plan): Assembled {
  const list: Instruction[] = [];
  const stops: Stop[] = [];
  const origin = new Map<Ref, Ref>(); // a site → the value that it shows
  const root = (ref: Ref): Ref => origin.get(ref) ?? ref;
  for (const node of plan.nodes) {
    if (node.kind === 'fused') throw new Error(`backend wasm: ${node.name} is to be taken apart first`);
    if (node.kind === 'site') {
      origin.set(node.out, root(node.in));
      stops.push({ site: node.site, ref: node.out, after: list.length });
    } else list.push({ node, operands: operandsOf(node, plan, root) });
  }

  const operands = list.flatMap(instruction => instruction.operands);
  const weights = new Map<string, PlacedWeight>();
  const states = new Map<Ref, PlacedState>();
  let top = BASE;
  const take = (bytes: number): number => {
    const at = top;
    top += aligned(bytes);
    return at;
  };
  for (const operand of operands) {
    if (typeof operand === 'number') continue;
    if (operand.kind === 'weight' && !weights.has(keyOf(operand))) {
      const { ref, packing } = operand;
      const read = ref ? () => plan.weights.read(ref) : undefined;
      weights.set(keyOf(operand), { ref, at: take(packing.bytes), packing, read });
    } else if (operand.kind === 'state' && !states.has(operand.ref)) {
      const { ref, padding } = operand;
      states.set(ref, { at: take(padding.rows * padding.stride * 4), padding });
    }
  }
  const at = take(list.length * INSTRUCTION_BYTES);
  const lifetimes = lifetimesOf(plan, list, stops, root);

  const layout = (rows: number): Layout => {
    const refs = [...lifetimes.keys()];
    const spans = refs.map((ref): Lifetime => {
      const { from, to } = lifetimes.get(ref)!;
      return { bytes: rows * rowBytes(plan.types.get(ref)!), from, to };
    });
    const { offsets, bytes } = arrange(spans);
    const addresses = new Map(refs.map((ref, i) => [ref, top + offsets[i]]));
    const scratch = top + bytes;
    const resolve = (operand: Operand): number => {
      if (typeof operand === 'number') return operand;
      if (operand.kind === 'value') return addresses.get(operand.ref)!;
      if (operand.kind === 'weight') return weights.get(keyOf(operand))!.at;
      return operand.kind === 'state' ? states.get(operand.ref)!.at : scratch;
    };
    const table = new Int32Array((list.length * INSTRUCTION_BYTES) / 4);
    for (const [i, instruction] of list.entries())
      table.set(instruction.operands.map(resolve), (i * INSTRUCTION_BYTES) / 4);
    const needs = operands.map(o => (typeof o === 'object' && o.kind === 'scratch' ? o.bytes(rows) : 0));
    const most = needs.reduce((a, b) => Math.max(a, b), 0);
    return {
      rows,
      table,
      end: scratch + aligned(most) + aligned(1),
      address: ref => addresses.get(root(ref))!,
    };
  };
  return { instructions: list, stops, weights: [...weights.values()], states, at, layout };
}

const keyOf = ({ ref, packing }: { readonly ref: Ref; readonly packing: Packing }) => `${packing.key} ${ref}`;

function operandsOf(node: OpNode, { types, weights }: Plan, root: (ref: Ref) => Ref): readonly Operand[] {
  const { op } = node;
  if (!Object.hasOwn(instructions, op.name)) throw new Error(`backend wasm: no kernel for ${op.name}`);
  const isValue = (ref: Ref) => types.get(ref)?.shape[0] === 'l';
  const shapeOf = (ref: Ref) => types.get(ref)?.shape.map(n => (n === 'l' ? 1 : n)) ?? weights.shape(ref);
  const shapes = Object.entries(node.in).map(
    ([key, ref]) => [key, standIn(op, key, shapeOf(ref), types.get(ref)?.dtype)] as const,
  );
  const { dims, attrs } = bind(op, Object.fromEntries(shapes), node.attrs);

  const weight: Call['weight'] = (key, packing) => {
    const ref = node.in[key];
    if (ref === undefined) return 0;
    if (types.has(ref)) throw new Error(`backend wasm: ${op.name} expected a constant ${key}; got ${ref}`);
    return { kind: 'weight', ref, packing: packing(weights.shape(ref)) };
  };
  const value: Call['value'] = key => {
    const ref = node.in[key] ?? node.out[key];
    if (ref === undefined) return 0;
    if (!isValue(ref)) throw new Error(`backend wasm: ${op.name} expected ${key} of each token; got ${ref}`);
    return { kind: 'value', ref: root(ref) };
  };
  return instructions[op.name]({
    dims,
    attrs,
    value,
    weight,
    table: packing => ({ kind: 'weight', ref: '', packing }),
    scale: key => {
      const isOwn = isValue(node.in[key]);
      return [isOwn ? value(key) : weight(key, vector), isOwn ? 4 : 0];
    },
    state: padding => ({ kind: 'state', ref: node.in.state, padding }),
  });
}

/** What `bind` looks at, without the data: a value of one row, or a constant that is not read yet. */
const standIn = (op: AnyOp, key: string, shape: readonly number[], dtype?: DType): Tensor =>
  ({
    dtype: dtype ?? parse(op.inputs[key]).dtype,
    shape,
    data: { length: sizeOf(shape) },
  }) as unknown as Tensor;

/** From the instruction that writes a value (−1 for an input) to the last one that reads it. */
function lifetimesOf(
  { inputs, results, types }: Plan,
  list: readonly Instruction[],
  stops: readonly Stop[],
  root: (ref: Ref) => Ref,
): ReadonlyMap<Ref, { readonly from: number; readonly to: number }> {
  const lifetimes = new Map(inputs.map(ref => [ref, { from: -1, to: -1 }]));
  const needed = (ref: Ref, at: number) => {
    const lifetime = lifetimes.get(root(ref));
    if (lifetime) lifetime.to = Math.max(lifetime.to, at);
  };
  for (const [i, { node }] of list.entries()) {
    for (const ref of reads(node)) needed(ref, i);
    for (const ref of valuesOf(node)) if (types.has(ref)) lifetimes.set(ref, { from: i, to: i });
  }
  for (const { ref, after } of stops) needed(ref, after - 1);
  for (const ref of results) needed(ref, list.length);
  return lifetimes;
}
