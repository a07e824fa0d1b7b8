/**
 * WebAssembly with SIMD: the reference's bits at many times its speed. A plan becomes a table of instructions (program.ts) in
 * a memory of its own (machine.ts), and a loop inside WebAssembly runs it (assembly/execute.ts), on one thread or on many
 * (threads.ts). The states of each sequence have a place in that memory.
 */
import type { Executable } from '../../executable.ts';
import type { Program } from '../../graph.ts';
import { foldConstants } from '../../plan/fold.ts';
import { contextOf, sizesOf } from '../../plan/sizes.ts';
import { inferTypes } from '../../plan/types.ts';
import { inputOf, type Places, sequences } from '../../sequences.ts';
import type { Tensor } from '../../tensor.ts';
import type { Backend, PrepareOptions } from '../backend.ts';
import { hasKernel } from './instructions.ts';
import { createMachine } from './machine.ts';
import { kernelOf } from './single.ts';
import { noThreads } from './threads.ts';
import { type VariantName, variantOf } from './variants.ts';

/** The backend with the best kernels that this engine computes right, or with those of one name. */
export const wasmBackend = (name?: VariantName): Backend => ({
  name: 'wasm',
  kernelOf: op => (hasKernel(op) ? kernelOf(op, variantOf(name)) : undefined),
  prepare: (program, options) => prepare(program, name, options),
});

export const wasm: Backend = wasmBackend();

function prepare(
  program: Program,
  name?: VariantName,
  { threads = 1, timeout, context: asked }: WasmOptions = {},
): Executable {
  if (!(Number.isSafeInteger(threads) && threads > 0))
    throw new RangeError(`backend wasm: threads expected a whole number >= 1; got ${threads}`);
  const context = contextOf(program, asked);
  const { graph, weights } = foldConstants(program);
  const { input, result, states, nodes } = graph;
  const types = inferTypes(graph);
  const subgraph = { nodes, inputs: [input], results: [result], states, types, weights };
  const { run, about, ready, readBandwidth, multiplyRate, dispose, ...places } = createMachine(
    subgraph,
    variantOf(name),
    { threads: noThreads() ? 1 : threads, timeout, context, sizes: sizesOf(program, context) },
  );
  const feed: Places['feed'] = (turns, options) => {
    const machineTurns = turns.map(({ place, position, tokens, rows }) => ({
      place,
      position,
      rows,
      inputs: [inputOf(graph, tokens, rows)],
    }));
    return run(machineTurns, options).map(([logits]) => logits as Tensor<'f32'>);
  };
  const lent = sequences(program, { ...places, feed }, context);
  return { ...lent, about, ready, readBandwidth, multiplyRate, dispose };
}

/** @internal Seconds until a thread is taken for lost: for tests. */
interface WasmOptions extends PrepareOptions {
  readonly timeout?: number;
}
