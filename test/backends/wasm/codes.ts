/** Which instructions a program becomes on the wasm backend: their opcodes, in order. */
import { assemble } from '../../../src/backends/wasm/program.ts';
import type { Program } from '../../../src/graph.ts';
import { inferTypes } from '../../../src/plan/types.ts';

export function codesOf({ graph, weights }: Program): readonly number[] {
  const types = inferTypes(graph);
  const { nodes, input, result, states } = graph;
  const subgraph = { nodes, inputs: [input], results: [result], states, types, weights };
  return assemble(subgraph, { bias: true }, 1).instructions.map(({ code }) => code);
}
