/** A whole plan on the GPU: its constants are uploaded once, states stay there, and a feed is one call of the library. */
import type { Executable, ExecutableInfo, Turn } from '../../executable.ts';
import type { Program, Ref } from '../../graph.ts';
import { graphToJson } from '../../plan/graph-json.ts';
import { contextOf } from '../../plan/sizes.ts';
import { inferTypes } from '../../plan/types.ts';
import { type Places, sequences } from '../../sequences.ts';
import { shapeAt } from '../../state.ts';
import { type Tensor, zeros } from '../../tensor.ts';
import type { Decode } from './abi.ts';
import type { Bandwidth, PlanOptions } from './functions.ts';
import type { Library } from './library.ts';
import { nativeTensors } from './tensors.ts';

/** A plan on the GPU. */
export interface CudaExecutable extends Executable {
  readonly about: CudaExecutableInfo;
  /**
   * For measurements: a feed whose logits stay on the GPU. It returns when the work is queued, and what goes wrong there is an error
   * of `wait` or of the next feed.
   */
  queue(turns: readonly Turn[]): void;
  /** Waits for all that is queued. */
  wait(): void;
  readBandwidth(bytes: number): number;
  bandwidth(bytes: number): Bandwidth;
  /** Gives its memory back. Without it the memory stays taken until the process ends. */
  dispose(): void;
}

export interface CudaExecutableInfo extends ExecutableInfo {
  /** How many can be open at once. */
  readonly sequences: number;
  /** How one token of one sequence runs. */
  readonly decode: Decode;
  /** Kernels that it takes. */
  readonly launches: number;
}

/** @throws Error for a plan that does not fit on the GPU, or that the library cannot run as `options` ask. */
export function openPlan(library: Library, program: Program, options: PlanOptions): CudaExecutable {
  const { graph, weights } = program;
  if (graph.width !== undefined)
    throw new Error(
      'backend cuda: a plan reads token ids; this one reads frames, which wasm and the reference do',
    );
  const mostTokens = contextOf(program, options.context);
  const json = JSON.stringify(graphToJson(graph));
  const constants = Object.fromEntries([...graph.weights.keys()].map(ref => [ref, weights.read(ref)]));
  const context = library.open(json, nativeTensors(constants), options);
  const { sequences: most, decode, launches, memory, bytesPerToken } = context.info;

  const row = inferTypes(graph).get(graph.result)!.shape.slice(1) as number[];
  let isOpen = true;
  const running = () => {
    if (!isOpen) throw new Error('model: it was disposed of');
    return context;
  };

  /** The last given back is the first taken. */
  const free = Array.from({ length: most }, (_, i) => most - 1 - i);
  const clear = (place: number) => running().setState(place, []);
  const read = (place: number, position: number): ReadonlyMap<Ref, Tensor<'f32'>> => {
    const states = new Map(
      [...graph.states].map(([ref, type]) => [ref, zeros('f32', shapeAt(type, position))]),
    );
    running().getState(place, nativeTensors(Object.fromEntries(states)));
    return states;
  };

  let queues = false;
  const places: Places = {
    take() {
      running();
      const place = free.at(-1);
      if (place === undefined)
        throw new Error(
          `open: all ${most} sequences of this plan are open; close one, or open the plan with the option sequences for more`,
        );
      clear(place);
      free.pop();
      return place;
    },
    release: place => void free.push(place),
    clear,
    copy: (from, to) => running().copyState(from, to),
    read,
    write: (place, values) => running().setState(place, nativeTensors(Object.fromEntries(values))),
    feed(turns, { logits = 'all' }) {
      const which = queues ? 'last' : logits;
      const rows = queues
        ? []
        : turns.map(({ tokens }) => zeros('f32', [which === 'last' ? 1 : tokens.length, ...row]));
      running().feed(
        turns.map(({ place, tokens }, i) => ({
          sequence: place,
          length: tokens.length,
          tokens: tokens as Int32Array,
          logits: rows[i]?.data ?? null,
        })),
        which,
      );
      return rows;
    },
  };
  const { open, feed } = sequences(program, places, mostTokens);

  return {
    about: {
      kernels: `${decode}, sm_${library.device.sm}`,
      threads: 1,
      memoryBytes: memory,
      bytesPerToken,
      sequences: most,
      decode,
      launches,
    },
    open,
    feed,
    queue(turns) {
      queues = true;
      try {
        feed(turns);
      } finally {
        queues = false;
      }
    },
    wait: () => running().wait(),
    readBandwidth: bytes => library.bandwidth(bytes).read,
    bandwidth: bytes => library.bandwidth(bytes),
    dispose() {
      if (!isOpen) return;
      isOpen = false;
      context.close();
    },
  };
}
