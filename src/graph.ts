/**
 * A model as data: a list of nodes, written as a function and traced into a list.
 *
 *   trace(model) → Graph      run it: run.ts      print it: plan/render.ts      rewrite it: quant/, plan/
 *
 * A node is an op with the names of its inputs and outputs, or a *site*: a named activation point at which a recipe may
 * act. A name (`Ref`) is a value of this graph, a weight (by its name in the checkpoint) or a state, which has a type that says
 * how it is kept between two calls (state.ts).
 */
import type { AnyOp, Attrs } from './op.ts';
import type { StateExtent, StateType } from './state.ts';
import { type DType, describe, type Tensor, type TensorType } from './tensor.ts';

export type Ref = string;
export type Refs = Readonly<Record<string, Ref>>;
/** Inputs and states by name; undefined where one is left out. */
export type Given = Readonly<Record<string, Ref | undefined>>;

export interface OpNode {
  readonly kind: 'op';
  readonly op: AnyOp;
  readonly in: Refs;
  readonly attrs: Attrs;
  readonly out: Refs;
  /** What it carries from call to call, by the op's names. */
  readonly states: Refs;
  /** What its weight `w` is to the model (`inProj`, `conv`, `head` …); '' where no recipe may touch it. */
  readonly role: string;
}
/** The identity, until a recipe says otherwise. */
export interface SiteNode {
  readonly kind: 'site';
  readonly site: string;
  readonly in: Ref;
  readonly out: Ref;
}
/** Several nodes that a backend may run as one. The body defines what it computes. */
export interface FusedNode {
  readonly kind: 'fused';
  readonly name: string;
  readonly body: readonly OpNode[];
}
export type Node = OpNode | SiteNode | FusedNode;

export interface Graph {
  readonly nodes: readonly Node[];
  /** The one input: token ids i32[l], or frames f32[l, width]. */
  readonly input: Ref;
  /** The values of a frame. Absent where the input is token ids. */
  readonly width?: number;
  readonly result: Ref;
  /** What is carried from call to call, zeros at the start of a text. Each belongs to one node. */
  readonly states: ReadonlyMap<Ref, StateType>;
  /** The constants that the nodes and states read, by their names in the checkpoint. */
  readonly weights: ReadonlyMap<Ref, TensorType>;
}

/**
 * The values of constants by name, read when they are asked for, so that nothing is in memory twice. What type a constant
 * has, the graph says.
 */
export interface Weights {
  has(ref: Ref): boolean;
  read(ref: Ref): Tensor;
}

/** A graph and the constants that it names: the value that every stage of quantization takes and returns. */
export interface Program {
  readonly graph: Graph;
  readonly weights: Weights;
}

export interface Builder {
  /** A builder whose value, site and state names begin with `name.`. */
  scope(name: string): Builder;
  /** A constant of this shape, read under `role` by the next op. */
  weight(name: string, shape: readonly number[], role?: string, dtype?: DType): Ref;
  /** What the next op carries from call to call; an axis `t` grows with the text. */
  state(name: string, shape: readonly StateExtent[]): Ref;
  site(site: string, x: Ref): Ref;
  /** Adds an op and returns its first output, called `name`. Its states stand among the inputs. */
  op(name: string, op: AnyOp, inputs: Given, attrs?: Attrs): Ref;
}

/** What a program is fed: token ids, or frames, one row of `width` values after the other. */
export type Input = Int32Array | Float32Array;

/**
 * Runs `model` once on names instead of numbers and keeps what it did.
 *
 * @param width of a frame, for a model that reads frames f32[l, width], such as the spectrum of a sound, instead of token ids.
 * @throws Error for a name that is given twice, RangeError for a weight that is read in two shapes.
 */
export function trace(model: (g: Builder, input: Ref) => Ref, width?: number): Graph {
  const nodes: Node[] = [];
  const states = new Map<Ref, StateType>();
  const weights = new Map<Ref, TensorType>();
  const roles = new Map<Ref, string>();
  const input = width === undefined ? 'tokens' : 'frames';
  const written = new Set<Ref>([input]);
  const named = (name: Ref): Ref => {
    if (written.has(name)) throw new Error(`trace: expected a new name; got ${name} a second time`);
    written.add(name);
    return name;
  };

  const builder = (prefix: string): Builder => ({
    scope: name => builder(`${prefix}${name}.`),
    weight: (name, shape, role = '', dtype = 'f32') => {
      const known = weights.get(name);
      if (known && describe(known) !== describe({ dtype, shape }))
        throw new RangeError(
          `trace: weight ${name} is ${describe(known)}; got ${describe({ dtype, shape })} too`,
        );
      weights.set(name, { dtype, shape });
      roles.set(name, role);
      return name;
    },
    state: (name, shape) => {
      states.set(named(prefix + name), { dtype: 'f32', shape });
      return prefix + name;
    },
    site: (site, x) => {
      nodes.push({ kind: 'site', site, in: x, out: named(prefix + site) });
      return prefix + site;
    },
    op: (name, op, inputs, attrs = {}) => {
      const role = inputs.w === undefined ? '' : roles.get(inputs.w);
      nodes.push(opNode(op, inputs, named(prefix + name), attrs, role));
      return prefix + name;
    },
  });

  const result = model(builder(''), input);
  return { nodes, input, ...(width !== undefined && { width }), result, states, weights };
}

/** A node whose output is `name`. Its states stand among the inputs. */
export function opNode(op: AnyOp, given: Given, name: Ref, attrs: Attrs = {}, role = ''): OpNode {
  const isState = ([key]: readonly [string, Ref]) => Object.hasOwn(op.states, key);
  const all = Object.entries(given).filter((entry): entry is [string, Ref] => entry[1] !== undefined);
  return {
    kind: 'op',
    op,
    in: Object.fromEntries(all.filter(entry => !isState(entry))),
    attrs,
    out: Object.fromEntries(Object.keys(op.outputs).map(key => [key, name])),
    states: Object.fromEntries(all.filter(isState)),
    role,
  };
}

/** The node with each of its inputs under the name that `to` gives it. */
export const renamed = (node: OpNode, to: (ref: Ref) => Ref): OpNode => ({
  ...node,
  in: Object.fromEntries(Object.entries(node.in).map(([key, ref]) => [key, to(ref)])),
});

/** Adds nodes of one output to `nodes`, each unless it is there already. Returns the name of the output. */
export function addOnceTo(nodes: Node[]): (node: OpNode) => Ref {
  const added = new Set<Ref>();
  return node => {
    const [name] = Object.values(node.out);
    if (!added.has(name)) nodes.push(node);
    added.add(name);
    return name;
  };
}

/** The nodes in order, fused ones taken apart. */
export const takeApart = (nodes: readonly Node[]): readonly (OpNode | SiteNode)[] =>
  nodes.flatMap((node): readonly (OpNode | SiteNode)[] => (node.kind === 'fused' ? node.body : [node]));

/** The op nodes in order, fused ones taken apart. */
export const flatten = (nodes: readonly Node[]): readonly OpNode[] =>
  takeApart(nodes).filter(node => node.kind === 'op');

/** Every value that a node writes. */
export const writes = (node: Node): readonly Ref[] =>
  takeApart([node]).flatMap(inner => (inner.kind === 'site' ? inner.out : Object.values(inner.out)));

/** Every value and constant that a node reads. */
export function reads(node: Node): readonly Ref[] {
  if (node.kind === 'site') return [node.in];
  if (node.kind === 'op') return Object.values(node.in);
  const written = writes(node);
  return [...new Set(node.body.flatMap(reads))].filter(ref => !written.includes(ref));
}

/** Every state that a node carries. */
export const statesOf = (node: Node): readonly Ref[] =>
  flatten([node]).flatMap(inner => Object.values(inner.states));

/** A constant that is made when it is read. */
export interface LazyTensor extends TensorType {
  readonly read: () => Tensor;
}

/**
 * The program with other nodes. Its states are those that these nodes carry, its constants those that these nodes and states
 * read, of its own and of `made`.
 */
export function withNodes(
  { graph, weights }: Program,
  nodes: readonly Node[],
  made: ReadonlyMap<Ref, LazyTensor> = new Map(),
): Program {
  const carried = new Set(nodes.flatMap(statesOf));
  const states = new Map([...graph.states].filter(([ref]) => carried.has(ref)));
  const read = new Set([...nodes.flatMap(reads), ...[...states.values()].map(({ scale }) => scale)]);
  const types = new Map([...graph.weights, ...made].filter(([ref]) => read.has(ref)));
  for (const [ref, { dtype, shape }] of types) types.set(ref, { dtype, shape });
  return {
    graph: { ...graph, nodes, states, weights: types },
    weights: {
      has: ref => made.has(ref) || weights.has(ref),
      read: ref => made.get(ref)?.read() ?? weights.read(ref),
    },
  };
}

/** Constants that are in memory already. */
export const weightsOf = (tensors: ReadonlyMap<Ref, Tensor>): Weights => ({
  has: ref => tensors.has(ref),
  read(ref) {
    const found = tensors.get(ref);
    if (!found) throw new Error(`weight ${ref} is missing`);
    return found;
  },
});

/** An axis of a value: a size, or `'l'`, the tokens of a call. */
export type Extent = number | 'l';
export interface ValueType {
  readonly dtype: DType;
  readonly shape: readonly Extent[];
}

export const inputType = ({ width }: Graph): ValueType =>
  width === undefined ? { dtype: 'i32', shape: ['l'] } : { dtype: 'f32', shape: ['l', width] };
