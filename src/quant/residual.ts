/**
 * Rotates the residual stream by the Hadamard matrix Q, offline. The function stays the same, and so does the work. But no
 * channel of the stream is much larger than the others any more, and so neither is any channel that a block's norm gives to
 * in_proj.
 *
 *   embedding  E → E Qᵀ            writes Q h instead of h
 *   out_proj   W → Q W, b → Q b    adds Q y
 *   norm       w → 1               ‖Q h‖ = ‖h‖, so the norm without its weight commutes with Q
 *   in_proj    W → W diag(w) Qᵀ    takes over the weight of the norm, and turns the stream back
 *
 * Nothing can be folded into a matrix that is read twice. Where embedding and head are one matrix, the graph has a transform
 * after the embedding and its inverse before the last norm instead. They are two small transforms a token, and no bytes.
 *
 * Source: QuaRot (arXiv 2404.00456 §3), SliceGPT (arXiv 2401.15024 §3.1).
 */
import {
  addOnceTo,
  flatten,
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

/**
 * The program with a rotated residual stream. The stream is the value that the embedding writes and that `add` nodes add to.
 *
 * @throws Error where something but a linear adds to the stream; what fwht throws where it has no matrix of that size.
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
  const readers = (ref: Ref): readonly Node[] => graph.nodes.filter(node => reads(node).includes(ref));
  /** The nodes that read a value, or read its site. */
  const users = (ref: Ref): readonly OpNode[] =>
    readers(ref).flatMap(node => (node.kind === 'site' ? users(node.out) : flatten([node])));

  const stream = new Set<Ref>();
  const added = new Set<Ref>(); // what linears add to the stream
  for (const node of flatten(graph.nodes))
    if (is(node, ops.embedding)) stream.add(node.out.y);
    else if (is(node, ops.add) && stream.has(node.in.x)) {
      stream.add(node.out.sum);
      added.add(node.in.y);
    }
  const canFold = (node: OpNode) => is(node, ops.linear) && readers(node.in.w).length === 1;
  const isWeightless = (norm: OpNode) => users(norm.out.y).every(canFold);

  const nodes: Node[] = [];
  const addOnce = addOnceTo(nodes);
  const entering = new Map<Ref, Ref>(); // what the stream begins with → the same, rotated
  const normWeights = new Map<Ref, Ref | undefined>(); // the output of a norm → the weight that the norm lost
  const inStream = (ref: Ref): Ref => entering.get(ref) ?? ref;
  const plain = (ref: Ref): Ref =>
    stream.has(ref) ? addOnce(rotation.undo(inStream(ref), nameOf.plain(ref))) : ref;
  for (const node of graph.nodes) {
    if (node.kind === 'fused') throw new Error(`residual: ${node.name} is fused already`);
    if (node.kind === 'site') {
      if (normWeights.has(node.in)) normWeights.set(node.out, normWeights.get(node.in));
      nodes.push(node);
    } else if (is(node, ops.embedding)) {
      const { w } = node.in;
      if (readers(w).length === 1) nodes.push({ ...node, in: { ...node.in, w: folded(w, rotateRows) } });
      else {
        const rotated = nameOf.inBasis(node.out.y, rotation.word);
        nodes.push(node, rotation.apply(node.out.y, rotated));
        entering.set(node.out.y, rotated);
      }
    } else if (is(node, ops.rmsNorm) && stream.has(node.in.x) && isWeightless(node)) {
      const { w, ...rest } = renamed(node, inStream).in;
      normWeights.set(node.out.y, w);
      nodes.push({ ...node, in: rest });
    } else if (is(node, ops.linear)) {
      const { w, b } = node.in;
      const reads = normWeights.has(node.in.x);
      const writes = added.has(node.out.y);
      const norm = normWeights.get(node.in.x);
      const fold = (matrix: Matrix): Matrix => {
        const read = reads ? rotateRows(norm ? weightRows(matrix, f32(norm)) : matrix) : matrix;
        return writes ? rotateColumns(read) : read;
      };
      const reader = renamed(node, inStream);
      const changed: Record<string, Ref> = {};
      if (reads || writes) changed.w = folded(w, fold);
      if (writes && b) changed.b = folded(b, rotateVector);
      nodes.push({ ...reader, in: { ...reader.in, ...changed } });
      added.delete(node.out.y);
    } else if (is(node, ops.add) && stream.has(node.in.x)) {
      if (added.has(node.in.y)) throw new Error(`residual: ${node.in.y} is added to it by no linear`);
      nodes.push(renamed(node, inStream));
    } else nodes.push(renamed(node, plain));
  }
  return withNodes(program, nodes, made);
}
