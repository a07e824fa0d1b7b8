/**
 * A subgraph in the memory of a WebAssembly instance: weights packed once, values in their places, one call into WebAssembly
 * for each chunk of rows.
 */

import type { ExecutableInfo, FeedOptions, Observer, State } from '../../executable.ts';
import type { Ref } from '../../graph.ts';
import { type Data, describe, type Tensor, zeros } from '../../tensor.ts';
import { keeper } from '../held.ts';
import { INSTRUCTION_BYTES, Multiply, Read, TAKEN } from './instruction-formats.ts';
import { padded, rowBytes } from './memory.ts';
import { assemble, type Layout, type Subgraph } from './program.ts';
import { FAILED_INDEX, LOST } from './sync.ts';
import { type Pool, startPool } from './threads.ts';
import { BASE, grow, instantiate, type Kernels, type Variant } from './variants.ts';

/** Rows of one pass: enough that a tile of weights serves many, few enough that they stay in the cache. */
const CHUNK = 128;

/** Seconds after which a thread that does not come back is taken for lost: far more than any instruction takes. */
const TIMEOUT = 30;

export interface Machine {
  /** Runs `rows` rows of the inputs from `state` on. Returns the results and the state after. */
  run(
    inputs: ReadonlyMap<Ref, Tensor>,
    rows: number,
    state: State,
    options?: FeedOptions,
  ): { readonly results: ReadonlyMap<Ref, Tensor>; readonly state: State };
  readonly about: ExecutableInfo;
  readonly ready?: Promise<void>;
  readBandwidth(bytes: number): number;
  multiplyRate(): number;
  dispose(): void;
}

export interface MachineOptions {
  readonly rows?: number;
  readonly kernels?: Kernels;
  readonly threads?: number;
  /** Seconds until a thread is taken for lost. */
  readonly timeout?: number;
}

/** Packs a plan into `kernels`, or into a new instance of just the size that it needs for `rows` rows at once. */
export function createMachine(
  plan: Subgraph,
  variant: Variant,
  { rows = CHUNK, kernels, threads = 1, timeout = TIMEOUT }: MachineOptions = {},
): Machine {
  const assembled = assemble(plan, variant.tiles, threads);
  let layout = assembled.layout(rows);
  const wasm = kernels ?? instantiate(variant, layout.end, threads > 1);
  grow(wasm, layout.end);
  const end = assembled.at + assembled.instructions.length * INSTRUCTION_BYTES;

  for (const { ref, at, packing, read } of assembled.weights) {
    const tensor = read?.();
    if (tensor && tensor.dtype !== packing.dtype)
      throw new TypeError(`backend wasm: ${ref} expected ${packing.dtype}; got ${describe(tensor)}`);
    if (kernels) new Uint8Array(wasm.memory.buffer, at, packing.bytes).fill(0);
    packing.write(wasm.memory.buffer, at, tensor?.data ?? NOTHING);
  }
  /** All but the counters of each instruction: a late thread must find those of its job as it left them. */
  const writeTable = () => {
    const words = new Int32Array(wasm.memory.buffer, assembled.at, layout.table.length);
    for (let at = 0; at < words.length; at += INSTRUCTION_BYTES / 4)
      words.set(layout.table.subarray(at, at + TAKEN / 4), at);
  };
  writeTable();
  const pool: Pool | undefined = threads > 1 ? startPool(wasm, variant, threads, timeout) : undefined;

  /** Runs the instructions from the address `at` to `to` on rows begin … begin + count − 1. */
  const execute = (at: number, to: number, count: number, begin: number): void => {
    pool?.check();
    const failed = wasm.run(at, to, count, pool?.size() ?? 1, layout.own, layout.ownBytes) >>> 0;
    if (failed === LOST) {
      pool?.abandon();
      pool?.check();
    }
    if (failed) throw nanIn((failed - assembled.at) / INSTRUCTION_BYTES, begin, count);
  };
  const nanIn = (index: number, begin: number, count: number): RangeError => {
    const n = assembled.instructions[index].quantized!;
    const [i] = new Int32Array(wasm.memory.buffer, FAILED_INDEX, 1);
    return new RangeError(
      `quantize C2: x must not hold NaN; got NaN at [${begin + (Math.floor(i / n) % count)}, ${i % n}]`,
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
  const tail = assembled.at + assembled.tail.begin * INSTRUCTION_BYTES;
  /** Brings the last of `count` rows of values to where the first one is. */
  const toFirstRow = (refs: readonly Ref[], count: number): void => {
    for (const ref of refs) {
      const at = layout.address(ref);
      const row = rowBytes(plan.types.get(ref)!);
      new Uint8Array(wasm.memory.buffer).copyWithin(at, at + row * (count - 1), at + row * count);
    }
  };
  const readValue = (ref: Ref, count: number): Tensor => {
    const value = emptyOf(plan, ref, count);
    readRows(wasm.memory.buffer, layout.address(ref), value, 0, count);
    return value;
  };

  const copyOut = (): State => {
    const copies = [...assembled.states].map(
      ([ref, { at, layout: of }]) => [ref, of.read(wasm.memory.buffer, at)] as const,
    );
    return Object.fromEntries(copies);
  };
  const states = keeper(new Set(assembled.states.keys()), copyOut, state => {
    for (const [ref, { at, layout: of }] of assembled.states) of.write(wasm.memory.buffer, at, state[ref]);
  });

  /** Seconds that one instruction takes that is not the plan's. */
  const timed = (...words: readonly number[]): number => {
    new Int32Array(wasm.memory.buffer, end, words.length).set(words);
    const start = performance.now();
    execute(end, end + INSTRUCTION_BYTES, 1, 0);
    return (performance.now() - start) / 1000;
  };

  return {
    run(inputs, total, state, { observe, giveUp = false, logits } = {}) {
      const last = logits === 'last';
      const { rows: most } = observe ? makeRoom(total) : layout;
      states.takeIn(state, giveUp);
      const results = new Map(plan.results.map(ref => [ref, emptyOf(plan, ref, last ? 1 : total)]));
      for (let begin = 0; begin < total; begin += most) {
        const count = Math.min(most, total - begin);
        for (const [ref, tensor] of inputs)
          writeRows(wasm.memory.buffer, layout.address(ref), tensor, begin, count);
        if (observe) show(observe, count);
        else execute(assembled.at, last ? tail : end, count, begin);
        if (last && begin + count < total) continue;
        if (last) toFirstRow(observe ? plan.results : assembled.tail.values, count);
        if (last && !observe) execute(tail, end, 1, total - 1);
        for (const [ref, tensor] of results)
          readRows(wasm.memory.buffer, layout.address(ref), tensor, last ? 0 : begin, last ? 1 : count);
      }
      return { results, state: states.hold() };
    },
    about: {
      kernels: variant.name,
      threads,
      get memoryBytes() {
        return wasm.memory.buffer.byteLength;
      },
      bytesPerToken: assembled.bytesPerToken,
    },
    ready: pool?.ready,
    readBandwidth(bytes) {
      const size = Math.min(bytes, wasm.memory.buffer.byteLength - BASE);
      return size / timed(Read.code, BASE, Math.floor(size / 64));
    },
    multiplyRate() {
      const rounds = 1000;
      const products = rounds * 8000 * (variant.tiles.bias ? 8 : 16);
      return (products * (pool?.size() ?? 1)) / timed(Multiply.code, rounds);
    },
    dispose: () => pool?.close(),
  };
}

const NOTHING = new Float32Array(0);

const emptyOf = ({ types }: Subgraph, ref: Ref, rows: number): Tensor => {
  const { dtype, shape } = types.get(ref)!;
  return zeros(dtype, [rows, ...(shape.slice(1) as number[])]);
};

/** A view of linear memory in the dtype of a tensor. */
const view = (memory: ArrayBufferLike, at: number, { data }: Tensor, size: number): Data =>
  new (data.constructor as Float32ArrayConstructor)(memory, at, size);

/** Values of a tensor from one row to the next, and in linear memory. */
const strides = ({ shape }: Tensor): readonly [number, number] =>
  shape.length === 1 ? [1, 1] : [shape[1], padded(shape[1])];

function writeRows(memory: ArrayBufferLike, at: number, from: Tensor, begin: number, count: number): void {
  const [n, stride] = strides(from);
  copyRows(from.data.subarray(begin * n), n, view(memory, at, from, count * stride), stride, n, count);
}

function readRows(memory: ArrayBufferLike, at: number, to: Tensor, begin: number, count: number): void {
  const [n, stride] = strides(to);
  copyRows(view(memory, at, to, count * stride), stride, to.data.subarray(begin * n), n, n, count);
}

function copyRows(from: Data, fromStride: number, to: Data, toStride: number, n: number, rows: number): void {
  if (fromStride === n && toStride === n) to.set(from.subarray(0, rows * n));
  else
    for (let row = 0; row < rows; row++)
      to.set(from.subarray(row * fromStride, row * fromStride + n), row * toStride);
}
