/**
 * Folds the weight of a gated norm into the linears behind it, where what the norm writes is rotated in between:
 *
 *   W Qᵀ · Q diag(w) v  =  (W diag(w)) Qᵀ · Q v
 *
 * What is rotated then has one length for every token, √d, and so a static scale fits it about as well as one of each token.
 */
import { flatten, type LazyTensor, type OpNode, type Program, type Ref, reads, withNodes } from '../graph.ts';
import { ops } from '../ops/index.ts';
import type { Tensor } from '../tensor.ts';
import { nameOf } from './names.ts';
import { type Recipe, siteAction } from './scheme.ts';

export function foldNormWeights(program: Program, recipe: Recipe): Program {
  const { graph, weights } = program;
  const made = new Map<Ref, LazyTensor>();
  const isConstant = (ref: Ref | undefined): ref is Ref => ref !== undefined && graph.weights.has(ref);
  const readersOf = (ref: Ref) => graph.nodes.filter(node => reads(node).includes(ref));
  /** The linears behind a norm's rotated sites; undefined where somebody else reads it too. */
  const behind = (norm: Ref): readonly OpNode[] | undefined => {
    const sites = readersOf(norm).flatMap(node => (node.kind === 'site' ? node : []));
    const isRotated = sites.every(({ site }) => siteAction(recipe, site).basis === 'hadamard');
    if (sites.length !== readersOf(norm).length || !isRotated || graph.result === norm) return undefined;
    const readers = sites.flatMap(({ out }) => readersOf(out));
    const absorbs = (node: (typeof readers)[number]): node is OpNode =>
      node.kind === 'op' && node.op.name === ops.linear.name && isConstant(node.in.w);
    const isResult = sites.some(({ out }) => out === graph.result);
    return readers.every(absorbs) && !isResult ? (readers as readonly OpNode[]) : undefined;
  };

  const normOf = new Map<OpNode, Ref>(); // a linear → the weight that it takes over
  const bare = new Set<OpNode>();
  for (const node of flatten(graph.nodes)) {
    const { w } = node.in;
    const linears = node.op.name === ops.gatedRmsNorm.name && isConstant(w) ? behind(node.out.y) : undefined;
    if (!linears?.length) continue;
    bare.add(node);
    for (const linear of linears) normOf.set(linear, w);
  }
  const nodes = graph.nodes.map(node => {
    if (node.kind !== 'op') return node;
    const { w, ...rest } = node.in;
    if (bare.has(node)) return { ...node, in: rest };
    const norm = normOf.get(node);
    if (!norm) return node;
    const name = nameOf.normed(w);
    const read = () =>
      ops.scaleChannels(
        { x: weights.read(w) as Tensor<'f32'>, c: weights.read(norm) as Tensor<'f32'> },
        { inverse: false },
      ).y;
    made.set(name, { ...graph.weights.get(w)!, read });
    return { ...node, in: { ...node.in, w: name } };
  });
  return bare.size ? withNodes(program, nodes, made) : program;
}
