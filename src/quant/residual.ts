/**
 * Rotates the residual stream by the Hadamard matrix Q, offline. The function stays the same, and so does the work. But no
 * channel of the stream is much larger than the others any more, and so neither is any channel that a block's norm gives to
 * in_proj.
 *
 *   embedding  E → E Qᵀ            writes Q h instead of h
 *   out_proj   W → Q W, b → Q b    adds Q y
 *   norm       w → 1               ‖Q h‖ = ‖h‖, so the norm without its weight commutes with Q
 *   in_proj    W → W diag(w) Qᵀ    takes over the weight of the norm, and turns the stream back
 *   any other  h → Qᵀ (Q h)        reads what a node turned back; what it adds, a node rotates
 *
 * Nothing can be folded into a matrix that is read twice. Where embedding and head are one matrix, the graph has a transform
 * after the embedding and its inverse before the last norm instead. They are two small transforms a token, and no bytes.
 *
 * Source: QuaRot (arXiv 2404.00456 §3), SliceGPT (arXiv 2401.15024 §3.1).
 */
import {
  addOnceTo,
  flatten,
  type Graph,
  type LazyTensor,
  type Node,
  type OpNode,
  type Program,
  type Ref,
  reads,
  renamed,
  withNodes,
} from '../graph.ts';
import { ops } from '../ops/index.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { nameOf } from './names.ts';
import { rotation } from './transforms.ts';

type Matrix = Tensor<'f32'>;

const rotateRows = rotation.fold; // W Qᵀ
const rotateColumns = (w: Matrix): Matrix => transposed(rotateRows(transposed(w))); // Q W
const rotateVector = ({ data, shape }: Matrix): Matrix =>
  tensor(rotateRows(tensor(data, [1, data.length])).data, shape);
const weightRows = (w: Matrix, c: Matrix): Matrix => ops.scaleChannels({ x: w, c }, { inverse: false }).y; // W diag(c)

function transposed({ data, shape: [rows, columns] }: Matrix): Matrix {
  const result = new Float32Array(data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j];
  return tensor(result, [columns, rows]);
}

const is = ({ op }: OpNode, { name }: { readonly name: string }): boolean => op.name === name;
const isLinear = (node: Node): node is OpNode => node.kind === 'op' && is(node, ops.linear);

/** The nodes that read each value or weight. */
function readersOf(nodes: readonly Node[]): (ref: Ref) => readonly Node[] {
  const readers = new Map<Ref, Node[]>();
  for (const node of nodes)
    for (const ref of new Set(reads(node))) readers.set(ref, [...(readers.get(ref) ?? []), node]);
  return ref => readers.get(ref) ?? [];
}

/** Whether Q can be folded into the weight of an embedding or a linear: a constant that nobody else reads. */
const foldable = ({ weights, nodes }: Graph, readers = readersOf(nodes)) => {
  const isConstant = (ref: Ref | undefined) => ref === undefined || weights.has(ref);
  return (node: OpNode): boolean =>
    (is(node, ops.linear) || is(node, ops.embedding)) &&
    readers(node.in.w).length === 1 &&
    [node.in.w, node.in.b].every(isConstant);
};

/**
 * The values of the residual stream, in their order. An embedding begins it, or a linear that something is added to; each `add`
 * whose `x` is of the stream goes on with it.
 */
export function streamOf(graph: Graph, canFold = foldable(graph)): ReadonlySet<Ref> {
  const nodes = flatten(graph.nodes);
  const sums = new Set(nodes.flatMap(node => (is(node, ops.add) ? node.in.x : [])));
  const stream = new Set<Ref>();
  for (const node of nodes)
    if (is(node, ops.embedding) || (is(node, ops.linear) && canFold(node) && sums.has(node.out.y)))
      stream.add(node.out.y);
    else if (is(node, ops.add) && stream.has(node.in.x)) stream.add(node.out.sum);
  return stream;
}

/**
 * The program with a rotated residual stream. What cannot be folded, a node does: whoever reads the stream in another way gets it
 * turned back, and what is added to it in another way is rotated first.
 *
 * @throws RangeError where there is no stream.
 */
export function rotateResidual(program: Program): Program {
  const { graph, weights } = program;
  const made = new Map<Ref, LazyTensor>();
  const f32 = (ref: Ref) => weights.read(ref) as Matrix;
  const folded = (ref: Ref, fold: (w: Matrix) => Matrix): Ref => {
    const name = nameOf.residual(ref);
    made.set(name, { ...graph.weights.get(ref)!, read: () => fold(f32(ref)) });
    return name;
  };
  const readers = readersOf(graph.nodes);
  const canFold = foldable(graph, readers);
  const stream = streamOf(graph, canFold);
  if (stream.size === 0) throw new RangeError('recipe.residual: the program has no residual stream');

  /** Whether all who read a value, or its site, are linears that fold Q into their weight. */
  const isAbsorbed = (ref: Ref): boolean =>
    ref !== graph.result &&
    readers(ref).every(node =>
      node.kind === 'site' ? isAbsorbed(node.out) : isLinear(node) && canFold(node),
    );
  /** Whether a linear writes Q y instead of y: nothing is done with y but that it is added to the stream. */
  const writesRotated = (node: OpNode): boolean => {
    const { y } = node.out;
    const isAdded = (reader: Node) =>
      reader.kind === 'op' && is(reader, ops.add) && reader.in.y === y && stream.has(reader.in.x);
    const isOnlyAdded = y !== graph.result && readers(y).length > 0 && readers(y).every(isAdded);
    return stream.has(y) || (isOnlyAdded && canFold(node));
  };

  const nodes: Node[] = [];
  const addOnce = addOnceTo(nodes);
  const entering = new Map<Ref, Ref>(); // what the stream begins with → the same, rotated
  const absorbed = new Map<Ref, Ref | undefined>(); // what linears read rotated → the weight of the norm that wrote it
  const added = new Set<Ref>(); // what linears write rotated, beside the stream
  const inStream = (ref: Ref): Ref => entering.get(ref) ?? ref;
  const plain = (ref: Ref): Ref =>
    stream.has(ref) ? addOnce(rotation.undo(inStream(ref), nameOf.plain(ref))) : ref;
  const rotated = (ref: Ref): Ref =>
    stream.has(ref) || added.has(ref) ? inStream(ref) : addOnce(rotation.apply(ref, nameOf.residual(ref)));
  for (const node of graph.nodes) {
    if (node.kind === 'fused') throw new Error(`residual: ${node.name} is fused already`);
    if (node.kind === 'site') {
      const isOfStream = stream.has(node.in) && isAbsorbed(node.out);
      if (isOfStream || absorbed.has(node.in)) absorbed.set(node.out, absorbed.get(node.in));
      nodes.push({ ...node, in: isOfStream ? inStream(node.in) : plain(node.in) });
    } else if (is(node, ops.embedding)) {
      if (canFold(node)) nodes.push({ ...node, in: { ...node.in, w: folded(node.in.w, rotateRows) } });
      else {
        const name = nameOf.inBasis(node.out.y, rotation.word);
        nodes.push(node, rotation.apply(node.out.y, name));
        entering.set(node.out.y, name);
      }
    } else if (is(node, ops.rmsNorm) && stream.has(node.in.x) && isAbsorbed(node.out.y)) {
      const { w, ...rest } = renamed(node, inStream).in;
      absorbed.set(node.out.y, w);
      nodes.push({ ...node, in: rest });
    } else if (is(node, ops.linear)) {
      const { x, w, b } = node.in;
      const reads = absorbed.has(x) || (stream.has(x) && canFold(node));
      const writes = writesRotated(node);
      const norm = absorbed.get(x);
      const fold = (matrix: Matrix): Matrix => {
        const read = reads ? rotateRows(norm ? weightRows(matrix, f32(norm)) : matrix) : matrix;
        return writes ? rotateColumns(read) : read;
      };
      const reader = renamed(node, reads ? inStream : plain);
      const changed: Record<string, Ref> = {};
      if (reads || writes) changed.w = folded(w, fold);
      if (writes && b) changed.b = folded(b, rotateVector);
      if (writes) added.add(node.out.y);
      nodes.push({ ...reader, in: { ...reader.in, ...changed } });
    } else if (is(node, ops.add) && stream.has(node.in.x)) nodes.push(renamed(node, rotated));
    else nodes.push(renamed(node, plain));
  }
  const result = plain(graph.result);
  return withNodes({ ...program, graph: { ...graph, result } }, nodes, made);
}
