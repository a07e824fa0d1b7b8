/**
 * A subgraph in the memory of a WebAssembly instance: weights packed once, values where they always are, a place for the states
 * of each sequence, and one call into WebAssembly for each pass of rows.
 */
import type { Executable, FeedOptions, Observer } from '../../executable.ts';
import type { Ref } from '../../graph.ts';
import type { Sizes } from '../../plan/sizes.ts';
import type { Places } from '../../sequences.ts';
import { shapeAt } from '../../state.ts';
import { describe, type Tensor, zeros } from '../../tensor.ts';
import { INSTRUCTION_BYTES, Multiply, Read, TAKEN } from './instruction-formats.ts';
import { rowBytes } from './memory.ts';
import { createPages } from './pages.ts';
import { passesOf, rowInTurn, rowsOf, type Span } from './passes.ts';
import { assemble, type PlacedState, type Subgraph } from './program.ts';
import { FAILED_INDEX, LOST, PAGE_TOKENS, PASS_ROWS, TURN_BYTES, TURNS } from './sync.ts';
import { startPool } from './threads.ts';
import { BASE, grow, instantiate, type Kernels, MOST_BYTES, type Variant } from './variants.ts';

/** Seconds after which a thread that does not come back is taken for lost: far more than any instruction takes. */
const TIMEOUT = 30;

/** Bytes of values and scratch: some ten times what the largest models need. The verifier does not know of the scratch. */
const MOST_WORK = 1 << 30;

/**
 * Places beside the first that a memory has from the start. The operating system takes 1.6 ms to give the pages of a state of
 * mamba-130m when they are first written to, so that a fork to a new place waits for that, and one to these takes 0.1 ms.
 */
const SPARE = 7;

/** Rows for the sequence in a place: a tensor for each input of the subgraph, in its order. */
interface MachineTurn {
  readonly place: number;
  /** How many rows its text has before these. */
  readonly position: number;
  readonly rows: number;
  readonly inputs: readonly Tensor[];
}

/** A place is the address of its states. */
export interface Machine extends Omit<Places, 'feed'>, Omit<Executable, 'open' | 'feed'> {
  /** For each turn the results of the subgraph, in its order. */
  run(turns: readonly MachineTurn[], options?: FeedOptions): readonly (readonly Tensor[])[];
  dispose(): void;
}

export interface MachineOptions {
  readonly rows?: number;
  readonly kernels?: Kernels;
  readonly threads?: number;
  /** Seconds until a thread is taken for lost. */
  readonly timeout?: number;
  /** The most tokens of a text, where a state grows. */
  readonly context?: number;
  /** For `about`. */
  readonly sizes?: Sizes;
}

/** Packs a subgraph into `kernels`, or into a new instance of just the size that it needs for passes of `rows` rows. */
export function createMachine(
  plan: Subgraph,
  variant: Variant,
  { rows = PASS_ROWS, kernels, threads = 1, timeout = TIMEOUT, context = 0, sizes }: MachineOptions = {},
): Machine {
  const assembled = assemble(plan, variant.tiles, threads, context);
  const { firstPlace, placeBytes, pageBytes } = assembled;
  let layout = assembled.layout(rows);
  const all = layout.end + assembled.pages * pageBytes;
  if (all > MOST_BYTES)
    throw new RangeError(
      `backend wasm: with a context of ${context} tokens, ${pageBytes / PAGE_TOKENS} bytes each, the model takes ${all} bytes; a memory holds at most ${MOST_BYTES}`,
    );
  const work = layout.end - layout.begin;
  if (work > MOST_WORK)
    throw new RangeError(`backend wasm: the plan works on ${work} bytes; expected at most ${MOST_WORK}`);
  /** The first byte behind all that is laid out, and the places that no sequence has. */
  let top = layout.end;
  const free = [firstPlace];
  if (!kernels && placeBytes * SPARE <= top / 8)
    for (let i = 0; i < SPARE; i++, top += placeBytes) free.unshift(top);
  let wasm: Kernels | undefined = kernels ?? instantiate(variant, top, threads > 1);
  const running = (): Kernels => {
    if (!wasm) throw new Error('model: it was disposed of');
    return wasm;
  };
  const memory = (): ArrayBufferLike => running().memory.buffer;
  const words = (): Int32Array => new Int32Array(memory());
  grow(wasm, top);
  if (free.length > 1) new Uint8Array(memory(), layout.end, top - layout.end).fill(0); // touched once, here
  const end = assembled.at + assembled.instructions.length * INSTRUCTION_BYTES;
  const tail = assembled.at + assembled.tail.begin * INSTRUCTION_BYTES;

  for (const { ref, at, packing } of assembled.weights) {
    const tensor = ref ? plan.weights.read(ref) : undefined;
    if (tensor && tensor.dtype !== packing.dtype)
      throw new TypeError(`backend wasm: ${ref} expected ${packing.dtype}; got ${describe(tensor)}`);
    if (kernels) new Uint8Array(memory(), at, packing.bytes).fill(0);
    packing.write(memory(), at, tensor?.data ?? NOTHING);
  }
  /** All but the counters of each instruction: a late thread must find those of its job as it left them. */
  const writeTable = () => {
    for (let at = 0; at < layout.table.length; at += INSTRUCTION_BYTES / 4)
      words().set(layout.table.subarray(at, at + TAKEN / 4), assembled.at / 4 + at);
  };
  writeTable();
  let pool = threads > 1 ? startPool(wasm, variant, threads, timeout) : undefined;

  /** Runs the instructions from the address `at` to `to` on `count` rows. `inTurn`: which row of its turn a row is. */
  const execute = (at: number, to: number, count: number, inTurn: (row: number) => number): void => {
    pool?.check();
    const failed = running().run(at, to, count, pool?.size() ?? 1, layout.own, layout.ownBytes) >>> 0;
    if (failed === LOST) {
      pool?.abandon();
      pool?.check();
    }
    if (!failed) return;
    const n = assembled.instructions[(failed - assembled.at) / INSTRUCTION_BYTES].quantized!;
    const index = words()[FAILED_INDEX / 4];
    const row = inTurn(Math.floor(index / n) % count);
    throw new RangeError(`quantize C2: x must not hold NaN; got NaN at [${row}, ${index % n}]`);
  };

  /** An observed text runs in one pass, so that a site is seen whole. Its values then need more room, at the top. */
  const makeRoom = (count: number): void => {
    if (count <= layout.rows) return;
    const larger = assembled.layout(count, top);
    grow(running(), larger.end);
    if (placeBytes > 0)
      for (let at = layout.begin; at + placeBytes <= layout.end; at += placeBytes) free.push(at);
    layout = larger;
    top = larger.end;
    writeTable();
  };

  const show = (observe: Observer, count: number): void => {
    let at = assembled.at;
    for (const { site, ref, after } of assembled.stops) {
      const to = assembled.at + after * INSTRUCTION_BYTES;
      execute(at, to, count, row => row);
      at = to;
      const value = emptyOf(plan, ref, count);
      rowsOf(memory(), layout.address(ref), 0, value, 0, count).read();
      observe(site, ref, value as Tensor<'f32'>);
    }
    execute(at, end, count, row => row);
  };
  /** Brings the last row of each span to the begin of the values, in order. */
  const gatherLastRows = (refs: readonly Ref[], spans: readonly Span[]): void => {
    const bytes = new Uint8Array(memory());
    for (const ref of refs) {
      const size = rowBytes(plan.types.get(ref)!);
      const begin = layout.address(ref);
      for (const [i, { row, count }] of spans.entries()) {
        const from = begin + size * (row + count - 1);
        const to = begin + size * i;
        if (from !== to) bytes.copyWithin(to, from, from + size);
      }
    }
  };
  /** Memory that nobody had. New memory is zero. */
  const allot = (bytes: number): number => {
    grow(running(), top + bytes);
    top += bytes;
    return top - bytes;
  };
  const pages = createPages(
    pageBytes,
    () => allot(pageBytes),
    (from, to) => new Uint8Array(memory()).copyWithin(to, from, from + pageBytes),
    (place, table) => words().set(table, (place + assembled.pageTable) / 4),
  );
  /** The runs of values of a state in memory: the address of each, and where it begins and ends among the values. */
  const runsOf = (place: number, { offset, layout: of }: PlacedState, values: Float32Array) =>
    of.isPaged
      ? pages
          .of(place)
          .map((page, i) => [page + offset, values.subarray(i * of.size, (i + 1) * of.size)] as const)
      : [[place + offset, values] as const];
  /** The rows of a pass, and whose they are. */
  const writePass = (pass: readonly Span[], turns: readonly MachineTurn[]): void => {
    const at = words();
    at[TURNS / 4] = pass.length;
    let word = TURNS / 4 + 1;
    for (const { turn, from, row, count } of pass) {
      const { place, position, inputs } = turns[turn];
      at[word] = place - firstPlace;
      at[word + 1] = row;
      at[word + 2] = row + count;
      at[word + 3] = position + from;
      at[word + 4] = place + assembled.pageTable;
      word += TURN_BYTES / 4;
      for (let i = 0; i < inputs.length; i++)
        rowsOf(memory(), layout.address(plan.inputs[i]), row, inputs[i], from, count).write();
    }
  };

  /** Seconds that one instruction takes that is not the plan's. */
  const timed = (...instruction: readonly number[]): number => {
    words().set(instruction, end / 4);
    const start = performance.now();
    execute(end, end + INSTRUCTION_BYTES, 1, row => row);
    return (performance.now() - start) / 1000;
  };

  return {
    take() {
      const given = free.pop();
      if (given === undefined) return allot(placeBytes);
      new Uint8Array(memory(), given, placeBytes).fill(0);
      return given;
    },
    release(place) {
      pages.release(place);
      free.push(place);
    },
    clear(place) {
      pages.release(place);
      new Uint8Array(memory(), place, placeBytes).fill(0);
    },
    copy(from, to) {
      new Uint8Array(memory()).copyWithin(to, from, from + placeBytes);
      pages.share(from, to);
    },
    read(place, position) {
      const values = new Map<Ref, Tensor<'f32'>>();
      for (const [ref, state] of assembled.states) {
        const value = zeros('f32', shapeAt(plan.states.get(ref)!, position));
        for (const [at, run] of runsOf(place, state, value.data)) state.layout.read(memory(), at, run);
        values.set(ref, value);
      }
      return values;
    },
    write(place, values, position) {
      pages.release(place);
      pages.reserve(place, 0, position);
      for (const [ref, state] of assembled.states)
        for (const [at, run] of runsOf(place, state, values.get(ref)!.data))
          state.layout.write(memory(), at, run);
    },
    run(turns, { observe, logits } = {}) {
      const onlyLast = logits === 'last';
      const sizes = turns.map(turn => turn.rows);
      const results = sizes.map(size => plan.results.map(ref => emptyOf(plan, ref, onlyLast ? 1 : size)));
      if (observe) makeRoom(sizes[0]);
      for (const { place, position, rows } of turns) pages.reserve(place, position, position + rows);
      for (const pass of passesOf(sizes, observe ? layout.rows : rows)) {
        writePass(pass, turns);
        const { row, count } = pass.at(-1)!;
        if (observe) show(observe, count);
        else execute(assembled.at, onlyLast ? tail : end, row + count, at => rowInTurn(pass, at));
        let made = pass;
        if (onlyLast) {
          const ends = pass.filter(span => span.isLast);
          if (ends.length === 0) continue;
          gatherLastRows(observe ? plan.results : assembled.tail.values, ends);
          if (!observe) execute(tail, end, ends.length, row => row);
          made = ends.map((span, i) => ({ ...span, from: 0, count: 1, row: i }));
        }
        for (const span of made)
          for (const [i, tensor] of results[span.turn].entries())
            rowsOf(memory(), layout.address(plan.results[i]), span.row, tensor, span.from, span.count).read();
      }
      return results;
    },
    about: {
      kernels: variant.name,
      threads,
      get memoryBytes() {
        return wasm?.memory.buffer.byteLength ?? 0;
      },
      bytesPerToken: assembled.bytesPerToken,
      sizes,
    },
    ready: pool?.ready,
    readBandwidth(bytes) {
      const size = Math.min(bytes, memory().byteLength - BASE);
      return size / timed(Read.code, BASE, Math.floor(size / 64));
    },
    multiplyRate() {
      const rounds = 1000;
      const products = rounds * 8000 * (variant.tiles.bias ? 8 : 16);
      return (products * (pool?.size() ?? 1)) / timed(Multiply.code, rounds);
    },
    dispose() {
      pool?.close();
      pool = undefined; // it holds the memory, and a feed after this finds none
      wasm = undefined;
    },
  };
}

const NOTHING = new Float32Array(0);

const emptyOf = ({ types }: Subgraph, ref: Ref, rows: number): Tensor => {
  const { dtype, shape } = types.get(ref)!;
  return zeros(dtype, [rows, ...(shape.slice(1) as number[])]);
};
