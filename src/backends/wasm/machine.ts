/**
 * A plan in the memory of a WebAssembly instance: weights packed once, values in their places, one call into WebAssembly
 * for each chunk of rows.
 */
import type { Ref } from '../../graph.ts';
import type { FeedOptions, Observer, State } from '../../run.ts';
import { type Data, describe, type Tensor, zeros } from '../../tensor.ts';
import { padded } from './memory.ts';
import { grow, instantiate, type Kernels } from './module.ts';
import { INSTRUCTION_BYTES } from './opcodes.ts';
import { assemble, type Layout, type PlacedState, type Plan } from './program.ts';

/** Rows in one go: enough that a tile of weights serves many, few enough that they stay in the cache. */
const CHUNK = 128;

export interface Machine {
  /** Runs `rows` rows of the inputs from `state` on. Returns the results and the state after. */
  run(
    inputs: ReadonlyMap<Ref, Tensor>,
    rows: number,
    state: State,
    options?: FeedOptions,
  ): { readonly results: ReadonlyMap<Ref, Tensor>; readonly state: State };
}

/** Packs a plan into `kernels`, or into a new instance of just the size that it needs for `rows` rows at once. */
export function load(
  plan: Plan,
  { rows = CHUNK, kernels }: { rows?: number; kernels?: Kernels } = {},
): Machine {
  const assembled = assemble(plan);
  let layout = assembled.layout(rows);
  const wasm = kernels ?? instantiate(layout.end);
  grow(wasm, layout.end);
  const end = assembled.at + assembled.instructions.length * INSTRUCTION_BYTES;

  for (const { ref, at, packing, read } of assembled.weights) {
    const tensor = read?.();
    if (tensor && tensor.dtype !== packing.dtype)
      throw new TypeError(`backend wasm: ${ref} expected ${packing.dtype}; got ${describe(tensor)}`);
    new Uint8Array(wasm.memory.buffer, at, packing.bytes).fill(0);
    packing.write(wasm.memory.buffer, at, tensor?.data ?? NOTHING);
  }
  const writeTable = () =>
    new Int32Array(wasm.memory.buffer, assembled.at, layout.table.length).set(layout.table);
  writeTable();

  /** Runs the instructions from the address `at` to `to` on rows begin … begin + count − 1. */
  const execute = (at: number, to: number, count: number, begin: number): void => {
    const failed = wasm.execute(at, to, count) >>> 0;
    if (failed) throw nanIn((failed - assembled.at) / INSTRUCTION_BYTES, count, begin);
  };
  const nanIn = (index: number, count: number, begin: number): RangeError => {
    const { node } = assembled.instructions[index];
    const [n] = plan.types.get(node.in.x)!.shape.slice(1) as number[];
    const x = zeros('f32', [count, n]);
    readRows(wasm.memory.buffer, layout.address(node.in.x), x, 0, count);
    const i = x.data.findIndex(Number.isNaN);
    return new RangeError(
      `${node.op.name} C2: x must not hold NaN; got NaN at [${begin + Math.floor(i / n)}, ${i % n}]`,
    );
  };

  /** An observed text runs in one go, so that a site is seen whole; its values then need more room. */
  const makeRoom = (count: number): Layout => {
    if (count <= layout.rows) return layout;
    layout = assembled.layout(count);
    grow(wasm, layout.end);
    writeTable();
    return layout;
  };

  const show = (observe: Observer, count: number): void => {
    let at = assembled.at;
    for (const { site, ref, after } of assembled.stops) {
      const to = assembled.at + after * INSTRUCTION_BYTES;
      execute(at, to, count, 0);
      at = to;
      observe(site, ref, readValue(ref, count) as Tensor<'f32'>);
    }
    execute(at, end, count, 0);
  };
  const readValue = (ref: Ref, count: number): Tensor => {
    const value = emptyOf(plan, ref, count);
    readRows(wasm.memory.buffer, layout.address(ref), value, 0, count);
    return value;
  };

  let held: Held | undefined;
  const copyOut = (): State => {
    const shapeOf = (ref: Ref) => plan.types.get(ref)!.shape as number[];
    const copies = [...assembled.states].map(
      ([ref, placed]) => [ref, readState(wasm.memory.buffer, placed, shapeOf(ref))] as const,
    );
    return Object.fromEntries(copies);
  };
  /** Brings a state into linear memory, where it mostly is already, and parts with the one that is there. */
  const takeIn = (state: State, giveUp: boolean): void => {
    const isThere = held?.state === state;
    if (!(isThere && giveUp)) held?.keep();
    if (!isThere)
      for (const [ref, placed] of assembled.states) writeState(wasm.memory.buffer, placed, state[ref]);
    held?.leave();
    held = undefined;
  };

  return {
    run(inputs, total, state, { observe, giveUp = false } = {}) {
      const { rows: most } = observe ? makeRoom(total) : layout;
      takeIn(state, giveUp);
      const results = new Map(plan.results.map(ref => [ref, emptyOf(plan, ref, total)]));
      for (let begin = 0; begin < total; begin += most) {
        const count = Math.min(most, total - begin);
        for (const [ref, tensor] of inputs)
          writeRows(wasm.memory.buffer, layout.address(ref), tensor, begin, count);
        if (observe) show(observe, count);
        else execute(assembled.at, end, count, begin);
        for (const [ref, tensor] of results)
          readRows(wasm.memory.buffer, layout.address(ref), tensor, begin, count);
      }
      held = hold([...assembled.states.keys()], copyOut);
      return { results, state: held.state };
    },
  };
}

/** The state that is in linear memory, as a value: copied out when somebody looks at it, or when told to. */
interface Held {
  readonly state: State;
  keep(): void;
  /** From now on something else is in linear memory. */
  leave(): void;
}

function hold(refs: readonly Ref[], copyOut: () => State): Held {
  let copy: State | undefined;
  let here = true;
  const keep = () => {
    if (here) copy ??= copyOut();
  };
  const look = (ref: Ref) => {
    keep();
    if (!copy) throw new Error('state: was given up when it was fed on');
    return copy[ref];
  };
  const properties = refs.map(ref => [ref, { enumerable: true, get: () => look(ref) }] as const);
  const state: State = Object.defineProperties({}, Object.fromEntries(properties));
  return {
    state,
    keep,
    leave() {
      here = false;
    },
  };
}

const NOTHING = new Float32Array(0);

const emptyOf = ({ types }: Plan, ref: Ref, rows: number): Tensor => {
  const { dtype, shape } = types.get(ref)!;
  return zeros(dtype, [rows, ...(shape.slice(1) as number[])]);
};

/** A view of linear memory in the dtype of a tensor. */
const view = (memory: ArrayBuffer, at: number, { data }: Tensor, size: number): Data =>
  new (data.constructor as Float32ArrayConstructor)(memory, at, size);

/** Values of a tensor from one row to the next, and in linear memory. */
const strides = ({ shape }: Tensor): readonly [number, number] =>
  shape.length === 1 ? [1, 1] : [shape[1], padded(shape[1])];

function writeRows(memory: ArrayBuffer, at: number, from: Tensor, begin: number, count: number): void {
  const [n, stride] = strides(from);
  copyRows(from.data.subarray(begin * n), n, view(memory, at, from, count * stride), stride, n, count);
}

function readRows(memory: ArrayBuffer, at: number, to: Tensor, begin: number, count: number): void {
  const [n, stride] = strides(to);
  copyRows(view(memory, at, to, count * stride), stride, to.data.subarray(begin * n), n, n, count);
}

function copyRows(from: Data, fromStride: number, to: Data, toStride: number, n: number, rows: number): void {
  if (fromStride === n && toStride === n) to.set(from.subarray(0, rows * n));
  else
    for (let row = 0; row < rows; row++)
      to.set(from.subarray(row * fromStride, row * fromStride + n), row * toStride);
}

function writeState(memory: ArrayBuffer, { at, padding }: PlacedState, state: Tensor): void {
  const to = new Float32Array(memory, at, padding.rows * padding.stride);
  const [rows, n] = state.shape;
  copyRows(state.data, n, to, padding.stride, n, rows);
}

function readState(
  memory: ArrayBuffer,
  { at, padding }: PlacedState,
  shape: readonly number[],
): Tensor<'f32'> {
  const state = zeros('f32', shape);
  const from = new Float32Array(memory, at, padding.rows * padding.stride);
  copyRows(from, padding.stride, state.data, shape[1], shape[1], shape[0]);
  return state;
}
