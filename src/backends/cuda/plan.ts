/** A whole plan on the GPU: its constants are uploaded once, its state stays there, and a feed is one call of the library. */

import type { Executable, ExecutableInfo, State } from '../../executable.ts';
import type { Program } from '../../graph.ts';
import { graphToJson } from '../../plan/graph-json.ts';
import { inferTypes } from '../../plan/types.ts';
import { type Tensor, zeros } from '../../tensor.ts';
import { keeper } from '../held.ts';
import { tokenCheck } from '../tokens.ts';
import type { Decode } from './abi.ts';
import type { Bandwidth, PlanOptions } from './functions.ts';
import type { Library } from './library.ts';
import { nativeTensors } from './tensors.ts';

/**
 * A plan on the GPU. `feed` is for a plan of one sequence. With several, `feedSequences` feeds all of them side by side, each from
 * the state in which it is; it works with one, too.
 */
export interface CudaExecutable extends Executable {
  readonly about: CudaExecutableInfo;
  /**
   * Feeds every sequence its tokens, as many as each other. Returns the logits f32[sequences, l, v] of all of them, or
   * f32[sequences, 1, v] of the last.
   */
  feedSequences(tokens: readonly Int32Array[], logits?: 'all' | 'last'): Tensor<'f32'>;
  /** The same with the logits left on the GPU: returns when the work is queued. */
  queueSequences(tokens: readonly Int32Array[]): void;
  /** Waits for all that is queued. */
  wait(): void;
  /** The state of a sequence, copied. */
  getState(sequence: number): State;
  /** Puts a sequence into a state; one that is not given is the start of a text. */
  setState(sequence: number, state?: State): void;
  readBandwidth(bytes: number): number;
  bandwidth(bytes: number): Bandwidth;
  /** Gives its memory back. Without it the memory stays taken until the process ends. */
  dispose(): void;
}

export interface CudaExecutableInfo extends ExecutableInfo {
  readonly sequences: number;
  readonly decode: Decode;
  /** Kernels that a single token takes. */
  readonly launches: number;
}

/** @throws Error for a plan that does not fit on the GPU, or that the library cannot run as `options` ask. */
export function openPlan(library: Library, program: Program, options: PlanOptions): CudaExecutable {
  const { graph, weights } = program;
  const json = JSON.stringify(graphToJson(graph));
  const constants = Object.fromEntries([...graph.weights.keys()].map(ref => [ref, weights.read(ref)]));
  const context = library.open(json, nativeTensors(constants), options);
  const { sequences, decode, launches, memory, bytesPerToken } = context.info;

  const row = inferTypes(graph).get(graph.result)!.shape.slice(1) as number[];
  const check = tokenCheck(program);
  let isOpen = true;
  const running = () => {
    if (!isOpen) throw new Error('feed: this model was disposed of');
    return context;
  };

  const refs = Object.keys(graph.states);
  const getState = (sequence: number): State => {
    const state = Object.fromEntries(refs.map(ref => [ref, zeros('f32', graph.states[ref])]));
    running().getState(sequence, nativeTensors(state));
    return state;
  };
  const setState = (sequence: number, state: State): void => {
    const given = Object.fromEntries(refs.flatMap(ref => (state[ref] ? [[ref, state[ref]]] : [])));
    running().setState(sequence, nativeTensors(given));
  };
  const states = keeper(
    new Set(refs),
    () => getState(0),
    state => setState(0, state),
  );

  /** The logits of each sequence. */
  const run = (tokens: Int32Array, length: number, logits: 'all' | 'last'): Tensor<'f32'> => {
    const result = zeros('f32', [sequences, logits === 'last' ? 1 : length, ...row]);
    running().feed(tokens, length, logits, result.data);
    return result;
  };
  /** The tokens of all sequences, one after the other. From now on the state is another. */
  const joined = (tokens: readonly Int32Array[]): Int32Array => {
    const lengths = tokens.map(text => text.length);
    if (lengths.length !== sequences || lengths.some(length => length !== lengths[0]))
      throw new RangeError(
        `feed: expected ${sequences} sequences of the same length; got ${lengths.length} of ${lengths.join(', ')}`,
      );
    tokens.forEach(check);
    states.leave();
    const all = new Int32Array(sequences * lengths[0]);
    for (const [i, text] of tokens.entries()) all.set(text, i * text.length);
    return all;
  };

  return {
    about: {
      kernels: `${decode}, sm_${library.device.sm}`,
      threads: 1,
      memoryBytes: memory,
      bytesPerToken,
      sequences,
      decode,
      launches,
    },
    feed(tokens, state, { giveUp = false, logits = 'all' } = {}) {
      if (sequences !== 1)
        throw new Error(`feed: this plan was opened for ${sequences} sequences; feedSequences feeds them`);
      check(tokens);
      running();
      states.takeIn(state, giveUp);
      const { dtype, shape, data } = run(tokens, tokens.length, logits);
      return { logits: { dtype, shape: shape.slice(1), data }, state: states.hold() };
    },
    feedSequences: (tokens, logits = 'all') => run(joined(tokens), tokens[0].length, logits),
    queueSequences: tokens => running().feed(joined(tokens), tokens[0].length, 'last', null),
    wait: () => running().wait(),
    getState,
    setState(sequence, state = {}) {
      states.leave();
      setState(sequence, state);
    },
    readBandwidth: bytes => library.bandwidth(bytes).read,
    bandwidth: bytes => library.bandwidth(bytes),
    dispose() {
      if (!isOpen) return;
      try {
        states.leave();
      } finally {
        isOpen = false;
        context.close();
      }
    },
  };
}
