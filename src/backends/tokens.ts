import type { Program } from '../graph.ts';
import { checkTokens } from '../ops/embedding.ts';

/**
 * What refuses tokens that a table of the program does not have, in the words of the table's op, before any state has changed.
 */
export function tokenCheck({ graph }: Program): (tokens: Int32Array) => void {
  const tables = graph.nodes.flatMap(node =>
    node.kind === 'op' && node.in.tokens === graph.input
      ? [{ op: node.op.name, size: graph.weights.get(node.in.w)!.shape[0] }]
      : [],
  );
  return tokens => {
    for (const { op, size } of tables) checkTokens(op, tokens, size);
  };
}
