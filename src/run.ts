/**
 * Runs a program: one loop over its nodes. The same loop serves the float model, calibration and the integer plan.
 */
import {
  flatten,
  inferTypes,
  type LazyTensor,
  type Node,
  type OpNode,
  type Program,
  type Ref,
  reads,
  takeApart,
  withNodes,
} from './graph.ts';
import { type AnyOp, bind, type Kernel } from './op.ts';
import { selectiveScanF16 } from './ops/selective-scan-f16.ts';
import { selectiveScanI8state } from './ops/selective-scan-i8state.ts';
import { sizeOf, type Tensor, type TensorType, zeros } from './tensor.ts';

/** Values carried between calls, by name. Their size does not depend on the length of the text. */
export type State = Readonly<Record<Ref, Tensor<'f32'>>>;

export type AnyKernel = Kernel<AnyOp['inputs'], AnyOp['outputs'], AnyOp['attrs']>;

/** What sees an activation at a site: the site's word, the value's name, the value f32[l, n]. */
export type Observer = (site: string, ref: Ref, x: Tensor<'f32'>) => void;

export interface FeedOptions {
  readonly observe?: Observer;
  /** The caller will not look at `state` again, so that it need not be kept (a text in progress: each token saves a copy). */
  readonly giveUp?: boolean;
  /** `last`: only the logits after the last token, f32[1, v], which is what writing on from a prompt needs. Default: all. */
  readonly logits?: 'all' | 'last';
}

export interface Executable {
  /**
   * Runs the tokens from `state` on, which stays as it is unless it is given up. Returns the logits f32[l, v] of every
   * position (or of the last one), and the state after the last one.
   */
  feed(tokens: Int32Array, state: State, options?: FeedOptions): { logits: Tensor<'f32'>; state: State };
  /** What runs it, where the backend has something to say. */
  readonly about?: ExecutableInfo;
  /** Resolves when every thread that was asked for takes part. Until then fewer do, with the same bits. */
  readonly ready?: Promise<void>;
  /** Bytes per second that a plain read of `bytes` bytes of its memory reaches, with all its threads: the ceiling of decoding. */
  readBandwidth?(bytes: number): number;
  /** Multiply-adds of int8 per second that its instructions reach in registers, with all its threads: the ceiling of prefill. */
  multiplyRate?(): number;
  dispose?(): void;
}

export interface ExecutableInfo {
  /** The variant of the kernels, such as `simd` or `relaxed-simd`. */
  readonly kernels: string;
  readonly threads: number;
  /** Of its own memory: weights, states, values. */
  readonly memoryBytes: number;
  /** What one token reads of the weights. */
  readonly bytesPerToken: number;
}

/** The state at the start of a text: zeros. */
export const initialState = ({ graph }: Program): State =>
  Object.fromEntries(Object.entries(graph.states).map(([ref, shape]) => [ref, zeros('f32', shape)]));

/** How the values of a state are kept between two tokens: as f32, binary16, or int8 in steps of `scale` f32[d]. */
export type Kept = { readonly bits: 32 | 16 } | { readonly bits: 8; readonly scale: Ref };

/** How each state is kept, which the op that carries it says. */
export function keptStates({ graph }: Program): Readonly<Record<Ref, Kept>> {
  const kept: Record<Ref, Kept> = {};
  for (const ref of Object.keys(graph.states)) kept[ref] = { bits: 32 };
  for (const { op, in: inputs } of flatten(graph.nodes)) {
    if (op.name === selectiveScanF16.name) kept[inputs.state] = { bits: 16 };
    if (op.name === selectiveScanI8state.name) kept[inputs.state] = { bits: 8, scale: inputs.scale };
  }
  return kept;
}

/** The bytes that a text in progress takes. */
export const stateBytes = (program: Program): number =>
  Object.entries(keptStates(program)).reduce(
    (sum, [ref, { bits }]) => sum + (bits / 8) * sizeOf(program.graph.states[ref]),
    0,
  );

/** Runs a program once on the reference: tokens from a state on, by default from the start of a text. */
export const run = (
  program: Program,
  tokens: Int32Array,
  state: State = initialState(program),
  options?: FeedOptions,
): ReturnType<Executable['feed']> => interpret(program).feed(tokens, state, options);

/** An executable that calls one kernel for each op, by `kernelOf`. */
export function interpret(
  program: Program,
  kernelOf: (op: AnyOp) => AnyKernel = op => op.reference,
): Executable {
  const { graph, weights } = foldConstants(program);
  const constants = new Map([...graph.weights.keys()].map(ref => [ref, weights.read(ref)]));
  const nodes = takeApart(graph.nodes);
  const lastRead = new Map(nodes.flatMap((node, i) => reads(node).map(ref => [ref, i] as const)));
  lastRead.set(graph.result, nodes.length);

  return {
    feed(tokens, state, { observe, logits: wanted } = {}) {
      const after: Record<Ref, Tensor<'f32'>> = { ...state };
      const values = new Map<Ref, Tensor>([
        [graph.input, { dtype: 'i32', shape: [tokens.length], data: tokens }],
      ]);
      const get = (ref: Ref): Tensor => values.get(ref) ?? constants.get(ref) ?? after[ref];
      for (const [i, node] of nodes.entries()) {
        if (node.kind === 'site') {
          observe?.(node.site, node.out, get(node.in) as Tensor<'f32'>);
          values.set(node.out, get(node.in));
        } else {
          const outputs = runNode(node, kernelOf(node.op), get);
          for (const [key, ref] of Object.entries(node.out))
            if (key === 'state') after[ref] = outputs[key] as Tensor<'f32'>;
            else values.set(ref, outputs[key]);
        }
        for (const ref of reads(node)) if (lastRead.get(ref) === i) values.delete(ref);
      }
      const logits = values.get(graph.result) as Tensor<'f32'>;
      return { logits: wanted === 'last' ? lastRow(logits) : logits, state: after };
    },
  };
}

const lastRow = ({ dtype, shape: [l, v], data }: Tensor<'f32'>): Tensor<'f32'> => ({
  dtype,
  shape: [1, v],
  data: data.slice((l - 1) * v),
});

function runNode(
  node: OpNode,
  kernel: AnyKernel,
  get: (ref: Ref) => Tensor,
): Readonly<Record<string, Tensor>> {
  const inputs = Object.fromEntries(Object.entries(node.in).map(([key, ref]) => [key, get(ref)]));
  const call = bind(node.op, inputs, node.attrs);
  kernel(call.inputs, call.attrs, call.outputs, call.dims);
  return call.outputs;
}

/**
 * Takes out the nodes that read constants only (A = −exp(A_log), a dequantized weight): their results become constants, made
 * when they are read and not kept.
 */
export function foldConstants(program: Program): Program {
  const { graph, weights } = program;
  const types = inferTypes(graph);
  const constant = new Set(graph.weights.keys());
  const folded = new Map<Ref, LazyTensor>();
  const isConstant = (node: Node): node is OpNode =>
    node.kind === 'op' && Object.values(node.in).every(ref => constant.has(ref));
  const get = (ref: Ref): Tensor => folded.get(ref)?.read() ?? weights.read(ref);
  const nodes = graph.nodes.filter(node => {
    if (!isConstant(node)) return true;
    const [[key, name]] = Object.entries(node.out);
    const type = types.get(name) as TensorType; // nothing in it is of a token
    folded.set(name, { ...type, read: () => runNode(node, node.op.reference, get)[key] });
    constant.add(name);
    return false;
  });
  return withNodes(program, nodes, folded);
}

/** `make` as a function that makes once. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** Every op that a program needs of a backend. */
export const opsOf = ({ graph }: Program): ReadonlySet<AnyOp> =>
  new Set(flatten(graph.nodes).map(node => node.op));
