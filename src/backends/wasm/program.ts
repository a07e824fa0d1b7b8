/**
 * A subgraph as a table of instructions, and the place of everything that they read and write:
 *
 *   BASE │ weights │ first place │ table │ values, by lifetime │ scratch │ own scratch of each thread │ further places …
 *        ╰───── do not depend on how many rows ────╯╰──────── laid out anew for more rows ─────────────╯
 *
 * A place is the states of one sequence, and the table of its pages, which hold the states that grow (pages.ts). Instructions name the
 * states of the first place, and of one that grows where it begins in each page.
 */
import {
  flatten,
  type Graph,
  type OpNode,
  type Program,
  type Ref,
  reads,
  type ValueType,
} from '../../graph.ts';
import { once } from '../../once.ts';
import type { Dims } from '../../op.ts';
import { typeNode } from '../../plan/types.ts';
import type { Call } from './call.ts';
import { fused } from './fused.ts';
import { INSTRUCTION_BYTES } from './instruction-formats.ts';
import { hasKernel, instructions } from './instructions.ts';
import { aligned, arrange, rowBytes } from './memory.ts';
import type { Address, Instruction, Operand } from './operands.ts';
import { type Packing, type PackingOf, vector } from './pack.ts';
import { type StateLayout, stateLayout } from './state-layout.ts';
import { PAGE_TOKENS } from './sync.ts';
import { BASE, type TileFormat } from './variants.ts';

/** What is to be run, and the types of all values and constants. */
export interface Subgraph extends Pick<Graph, 'nodes' | 'states'>, Pick<Program, 'weights'> {
  readonly inputs: readonly Ref[];
  readonly results: readonly Ref[];
  readonly types: ReadonlyMap<Ref, ValueType>;
}

/** A site, whose value is there after so many instructions. */
interface Stop {
  readonly site: string;
  readonly ref: Ref;
  readonly after: number;
}
interface PlacedWeight {
  readonly ref: Ref;
  readonly at: number;
  readonly packing: Packing;
}
export interface PlacedState {
  /** Bytes from the begin of a place, or of a page. */
  readonly offset: number;
  readonly layout: StateLayout;
}

/** @throws Error for an op that has no kernel; what `typeNode` throws for one whose inputs do not fit. */
export function assemble(plan: Subgraph, tiles: TileFormat, threads: number, context: number) {
  const list: Instruction[] = [];
  const stops: Stop[] = [];
  const origin = new Map<Ref, Ref>(); // a site → the value that it shows
  const root = (ref: Ref): Ref => origin.get(ref) ?? ref;
  const callOf = (node: OpNode): Call => callOn(node, plan, tiles, root, context);
  const readByNodes = new Set(plan.nodes.flatMap(reads));

  for (const { op } of flatten(plan.nodes))
    if (!hasKernel(op)) throw new Error(`backend wasm: no kernel for ${op.name}`);
  const unfused = (node: OpNode) => instructions[node.op.name](callOf(node));
  const isOutput = (ref: Ref) => plan.results.includes(ref) || readByNodes.has(ref);
  for (const node of plan.nodes)
    if (node.kind === 'site') {
      origin.set(node.out, root(node.in));
      stops.push({ site: node.site, ref: node.out, after: list.length });
    } else if (node.kind === 'op') list.push(...unfused(node));
    else
      list.push(
        ...(fused[node.name]?.({ nodes: node.body, callOf, isOutput }) ?? node.body.flatMap(unfused)),
      );

  const weights = new Map<string, PlacedWeight>();
  const states = new Map<Ref, PlacedState>();
  let top = BASE;
  let stateBytes = 0;
  let pageBytes = 0;
  const take = (bytes: number): number => {
    const at = top;
    top += aligned(bytes);
    return at;
  };
  const streamed = new Map<string, number>();
  for (const { isLookup, operands } of list)
    for (const operand of operands) {
      if (typeof operand === 'number') continue;
      if (operand.kind === 'state' && !states.has(operand.ref)) {
        const { layout } = operand;
        states.set(operand.ref, { offset: layout.isPaged ? pageBytes : stateBytes, layout });
        if (layout.isPaged) pageBytes += aligned(layout.bytes);
        else stateBytes += aligned(layout.bytes);
      }
      if (operand.kind !== 'weight') continue;
      const key = keyOf(operand);
      const { ref, packing } = operand;
      if (!weights.has(key)) weights.set(key, { ref, at: take(packing.bytes), packing });
      if (!isLookup) streamed.set(key, packing.bytes);
    }
  const pages = pageBytes > 0 ? Math.ceil(context / PAGE_TOKENS) : 0;
  const placeBytes = stateBytes + aligned(4 * pages);
  const firstPlace = take(placeBytes);
  const at = take((list.length + 1) * INSTRUCTION_BYTES);
  const lifetimes = lifetimesOf(plan, list, stops, root);
  const needsEveryRow = ({ operands, quantized }: Instruction) =>
    quantized !== undefined ||
    operands.some(operand => typeof operand === 'object' && operand.kind === 'state');
  const tailBegin = list.findLastIndex(needsEveryRow) + 1;
  const crosses = ({ from, to }: { from: number; to: number }) => from < tailBegin && to >= tailBegin;

  /** The table for a number of rows, and where the values are, from the address `begin` on: by default behind the table. */
  const layout = (rows: number, begin = top) => {
    const { offsets, bytes } = arrange(
      [...lifetimes].map(([ref, span]) => ({ ...span, bytes: rows * rowBytes(plan.types.get(ref)!) })),
    );
    const addresses = new Map([...lifetimes.keys()].map((ref, i) => [ref, begin + offsets[i]]));
    const scratch = begin + bytes;
    const resolve = (operand: Operand): number => {
      if (typeof operand === 'number') return operand;
      if (operand.kind === 'value') return addresses.get(operand.ref)!;
      if (operand.kind === 'weight') return weights.get(keyOf(operand))!.at;
      if (operand.kind === 'scratch') return scratch;
      return states.get(operand.ref)!.offset + (operand.layout.isPaged ? 0 : firstPlace);
    };
    const words = INSTRUCTION_BYTES / 4;
    const table = new Int32Array(list.length * words);
    for (const [i, instruction] of list.entries())
      table.set([instruction.code, ...instruction.operands.map(resolve)], i * words);
    const most = (needs: readonly number[]) =>
      aligned(needs.reduce((a, b) => Math.max(a, b), 0)) + aligned(1);
    const shared = list
      .flatMap(({ operands }) => operands)
      .map(operand => (typeof operand === 'object' && operand.kind === 'scratch' ? operand.bytes(rows) : 0));
    const own = scratch + most(shared);
    const ownBytes = most([OWN_LEAST, ...list.map(instruction => instruction.own?.(rows) ?? 0)]);
    return {
      rows,
      begin,
      table,
      /** The first thread's own scratch, and the bytes from one thread's to the next's. */
      own,
      ownBytes,
      end: own + threads * ownBytes,
      address: (ref: Ref): number => addresses.get(root(ref))!,
    };
  };
  return {
    instructions: list,
    stops,
    weights: [...weights.values()],
    states,
    /** The address of the first place, and the bytes of every place. */
    firstPlace,
    placeBytes,
    /** The bytes from the begin of a place to the table of its pages, the bytes of every page, and how many a text has at most. */
    pageTable: stateBytes,
    pageBytes,
    pages,
    /** The address of the table. Behind its last instruction there is room for one more. */
    at,
    /**
     * What runs only for the rows whose logits are asked for: what comes after the last state and the last instruction that refuses
     * a NaN. From which instruction on, and the values of before that it reads.
     */
    tail: {
      begin: tailBegin,
      values: [...lifetimes].flatMap(([ref, lifetime]) => (crosses(lifetime) ? ref : [])),
    },
    /** All weights but tables, of which a token reads a row; and the states that do not grow, which it reads and writes. */
    bytesPerToken: [...streamed.values()].reduce((a, b) => a + b, 2 * stateBytes),
    layout,
  };
}

/** What the kernels of ceilings.ts take of own scratch. */
const OWN_LEAST = 96;

const keyOf = ({ ref, packing }: { readonly ref: Ref; readonly packing: Packing }) => `${packing.key} ${ref}`;

/** What the instructions of a node may ask of it. */
function callOn(
  node: OpNode,
  { types, weights, states }: Subgraph,
  tiles: TileFormat,
  root: (ref: Ref) => Ref,
  context: number,
): Call {
  const { op } = node;
  const typeOf = (ref: Ref) => types.get(ref)!;
  const stateOf = (ref: Ref) => states.get(ref)!;
  const { letters } = typeNode(node, typeOf, stateOf, op.name);
  const isValue = (ref: Ref) => types.get(ref)?.shape[0] === 'l';
  const constant = (ref: Ref, packing: PackingOf): Address => ({
    kind: 'weight',
    ref,
    packing: packing(typeOf(ref).shape as readonly number[]),
  });

  const weight: Call['weight'] = (key, packing) => {
    const ref = node.in[key];
    if (ref === undefined) return 0;
    if (!weights.has(ref)) throw new Error(`backend wasm: ${op.name} expected a constant ${key}; got ${ref}`);
    return constant(ref, packing);
  };
  const value: Call['value'] = key => {
    const ref = node.in[key] ?? node.out[key];
    if (ref === undefined) return 0;
    if (!isValue(ref)) throw new Error(`backend wasm: ${op.name} expected ${key} of each token; got ${ref}`);
    return { kind: 'value', ref: root(ref) };
  };
  return {
    dims: Object.fromEntries(letters) as Dims, // those of tokens are no numbers, and nobody asks for them
    attrs: { ...op.attrs, ...node.attrs },
    tiles,
    context,
    value,
    weight,
    table: packing => ({ kind: 'weight', ref: '', packing }),
    scale: key =>
      isValue(node.in[key])
        ? { scale: value(key), scaleStride: 4 }
        : { scale: weight(key, vector), scaleStride: 0 },
    state(key) {
      const ref = node.states[key];
      const type = stateOf(ref);
      const { scale } = type;
      const steps = scale === undefined ? undefined : once(() => weights.read(scale).data);
      const layout = stateLayout(type, steps);
      const hScale = scale === undefined ? 0 : constant(scale, vector);
      return { h: { kind: 'state', ref, layout }, hType: layout.type, hScale };
    },
  };
}

/** From the first instruction that names a value (−1 for an input), which writes it, to the last one. */
function lifetimesOf(
  { inputs, results }: Subgraph,
  list: readonly Instruction[],
  stops: readonly Stop[],
  root: (ref: Ref) => Ref,
): ReadonlyMap<Ref, { readonly from: number; readonly to: number }> {
  const lifetimes = new Map(inputs.map(ref => [ref, { from: -1, to: -1 }]));
  const needed = (ref: Ref, at: number) => {
    const lifetime = lifetimes.get(ref);
    if (lifetime) lifetime.to = Math.max(lifetime.to, at);
    else lifetimes.set(ref, { from: at, to: at });
  };
  for (const [i, { operands }] of list.entries())
    for (const operand of operands)
      if (typeof operand === 'object' && operand.kind === 'value') needed(operand.ref, i);
  for (const { ref, after } of stops) needed(root(ref), after - 1);
  for (const ref of results) needed(root(ref), list.length);
  return lifetimes;
}
