/**
 * WebAssembly with SIMD: the reference's bits at many times its speed. A plan becomes a table of instructions (program.ts) in
 * a memory of its own (machine.ts), and a loop inside WebAssembly runs it (assembly/execute.ts), on one thread or on many
 * (threads.ts).
 */

import type { Executable } from '../../executable.ts';
import type { Program } from '../../graph.ts';
import { foldConstants } from '../../plan/fold.ts';
import { inferTypes } from '../../plan/types.ts';
import type { Tensor } from '../../tensor.ts';
import type { Backend, PrepareOptions } from '../backend.ts';
import { tokenCheck } from '../tokens.ts';
import { instructions } from './instructions.ts';
import { createMachine, type Machine } from './machine.ts';
import { kernelOf } from './single.ts';
import { noThreads } from './threads.ts';
import { type VariantName, variantOf } from './variants.ts';

/** The backend with the best kernels that this engine computes right, or with those of one name. */
export const wasmBackend = (name?: VariantName): Backend => ({
  name: 'wasm',
  kernelOf: op => (Object.hasOwn(instructions, op.name) ? kernelOf(op, variantOf(name)) : undefined),
  prepare: (program, options) => prepare(program, name, options),
});

export const wasm: Backend = wasmBackend();

function prepare(
  program: Program,
  name?: VariantName,
  { threads = 1, timeout }: WasmOptions = {},
): Executable {
  const { graph, weights } = foldConstants(program);
  const { input, result, states, nodes } = graph;
  const types = inferTypes(graph);
  const check = tokenCheck({ graph, weights });
  const plan = { nodes, inputs: [input], results: [result], states: Object.keys(states), types, weights };
  let machine: Machine | undefined = createMachine(plan, variantOf(name), {
    threads: noThreads() ? 1 : threads,
    timeout,
  });
  const { about, ready } = machine;
  const running = (): Machine => {
    if (!machine) throw new Error('feed: this model was disposed of');
    return machine;
  };
  return {
    about,
    ready,
    feed(tokens, state, options) {
      check(tokens);
      const inputs = new Map([[input, { dtype: 'i32', shape: [tokens.length], data: tokens } as const]]);
      const { results, state: after } = running().run(inputs, tokens.length, state, options);
      return { logits: results.get(result) as Tensor<'f32'>, state: after };
    },
    readBandwidth: bytes => running().readBandwidth(bytes),
    multiplyRate: () => running().multiplyRate(),
    dispose() {
      machine?.dispose();
      machine = undefined;
    },
  };
}

/** @internal Seconds until a thread is taken for lost: for tests. */
interface WasmOptions extends PrepareOptions {
  readonly timeout?: number;
}
