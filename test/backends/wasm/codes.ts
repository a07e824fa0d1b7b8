/** Which instructions a program becomes on the wasm backend. */
import { assemble } from '../../../src/backends/wasm/program.ts';
import type { Program } from '../../../src/graph.ts';
import { contextOf } from '../../../src/plan/sizes.ts';
import { inferTypes } from '../../../src/plan/types.ts';

/** A program as the backend runs it. */
export function assembled({ graph, weights }: Program) {
  const types = inferTypes(graph);
  const { nodes, input, result, states } = graph;
  const subgraph = { nodes, inputs: [input], results: [result], states, types, weights };
  return assemble(subgraph, { bias: true }, 1, contextOf({ graph, weights }));
}

/** Their opcodes, in order. */
export const codesOf = (program: Program): readonly number[] =>
  assembled(program).instructions.map(({ code }) => code);
