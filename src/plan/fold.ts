/** Constants that are made of constants: A = −exp(A_log), a dequantized weight. */
import {
  type LazyTensor,
  type Node,
  type OpNode,
  type Program,
  type Ref,
  statesOf,
  withNodes,
} from '../graph.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import { inferTypes } from './types.ts';

/**
 * Takes out the nodes that read constants only and carry no state: their results become constants, made when they are read and
 * not kept.
 */
export function foldConstants(program: Program): Program {
  const { graph, weights } = program;
  const types = inferTypes(graph);
  const constant = new Set(graph.weights.keys());
  const folded = new Map<Ref, LazyTensor>();
  const isConstant = (node: Node): node is OpNode =>
    node.kind === 'op' &&
    statesOf(node).length === 0 &&
    Object.values(node.in).every(ref => constant.has(ref));
  const get = (ref: Ref): Tensor => folded.get(ref)?.read() ?? weights.read(ref);
  const nodes = graph.nodes.filter(node => {
    if (!isConstant(node)) return true;
    const [[key, name]] = Object.entries(node.out);
    const type = types.get(name) as TensorType; // no axis of it is the tokens of a call
    const inputs = () => Object.fromEntries(Object.entries(node.in).map(([input, ref]) => [input, get(ref)]));
    folded.set(name, { ...type, read: () => node.op(inputs(), node.attrs)[key] });
    constant.add(name);
    return false;
  });
  return withNodes(program, nodes, folded);
}
