/**
 * WebAssembly with SIMD, one thread: the reference's bits at many times its speed. A plan becomes a table of instructions
 * (program.ts) in a memory of its own (machine.ts), and a loop inside WebAssembly runs it (assembly/execute.ts).
 */
import { inferTypes, type Program, takeApart } from '../../graph.ts';
import { checkTokens } from '../../ops/embedding.ts';
import { type Executable, foldConstants } from '../../run.ts';
import type { Tensor } from '../../tensor.ts';
import type { Backend } from '../backend.ts';
import { instructions } from './instructions.ts';
import { load, type Machine } from './machine.ts';
import { kernelOf } from './single.ts';

export const wasm: Backend = {
  name: 'wasm',
  kernelOf: op => (Object.hasOwn(instructions, op.name) ? kernelOf(op) : undefined),
  prepare,
};

function prepare(program: Program): Executable {
  const { graph, weights } = foldConstants(program);
  const { input, result, states } = graph;
  const nodes = takeApart(graph.nodes);
  const types = inferTypes({ graph: { ...graph, nodes }, weights });
  const tables = nodes.flatMap(node =>
    node.kind === 'op' && node.in.tokens === input
      ? [{ op: node.op.name, size: weights.shape(node.in.w)[0] }]
      : [],
  );
  const plan = { nodes, inputs: [input], results: [result], states: Object.keys(states), types, weights };
  let machine: Machine | undefined = load(plan);
  return {
    feed(tokens, state, options) {
      if (!machine) throw new Error('feed: this model was disposed of');
      for (const { op, size } of tables) checkTokens(op, tokens, size);
      const inputs = new Map([[input, { dtype: 'i32', shape: [tokens.length], data: tokens } as const]]);
      const { results, state: after } = machine.run(inputs, tokens.length, state, options);
      return { logits: results.get(result) as Tensor<'f32'>, state: after };
    },
    dispose() {
      machine = undefined;
    },
  };
}
