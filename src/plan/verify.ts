/**
 * The verifier of plans: a program that it lets through cannot read or write outside of its memory, whatever its author wanted;
 * for any other it throws one sentence, which names the node and field, what was expected and what came.
 *
 *   names    a name is one thing (the input, a weight, a state or a value), written once and before it is read
 *   types    every input, state and attribute is of its op's signature, and that for every number of tokens (types.ts)
 *   tokens   only ops of tokens read them; a table has a row for each word of the vocabulary; frames anyone; the result is f32[l, v]
 *   states   each belongs to one node; the steps of one in int8 are positive
 *   fused    a fused node is what fuse.ts makes of its nodes: backends rely on that
 *   sizes    the memory that all of it takes is limited before any is allocated; so are counts, and the lengths of names
 *
 * It reads the graph and no weight, in some ten milliseconds. `loadPlan` calls it, since a graph in a file comes from outside; so
 * does `prepare`, since a graph that was made by hand runs in the same memory.
 */
import { count, show, unexpected } from '../formats/json.ts';
import {
  type Graph,
  inputType,
  type Node,
  type OpNode,
  type Program,
  type Ref,
  reads,
  takeApart,
  type ValueType,
  writes,
} from '../graph.ts';
import type { AnyOp } from '../op.ts';
import { ops } from '../ops/index.ts';
import { parse } from '../signature.ts';
import { isGrowing, OF_GROWING, type StateType, shapeAt } from '../state.ts';
import { ARRAYS, BYTES, describe, isArray, sizeOf, type Tensor } from '../tensor.ts';
import { fuse, MOST_IN_GROUP } from './fuse.ts';
import { typeNode } from './types.ts';

/** About twice what the largest models have. */
const MOST = {
  nodes: 1 << 13,
  names: 1 << 16,
  characters: 1024,
  bytesOfStates: 2 ** 29,
  bytesOfValues: 2 ** 29,
  bytesOfToken: 2 ** 30,
};
/** What takes far longer than its bytes say, so that it is not done when a program is prepared. */
const PRODUCTS: readonly AnyOp[] = [ops.linear, ops.linearI8, ops.linearI4];
/** Values are counted for as many tokens as a backend takes at once. */
const ROWS = 128;
/** How often a token may read all constants, beside `bytesOfToken`: layers may share their weights. */
const MOST_READ = 16;
/** Bytes that are made of the constants when a program is prepared, for each byte of them: 4-bit weights become 8 in f32. */
const MOST_MADE = 16;

/**
 * @param where begins each sentence: the file, or what the program is.
 * @param vocabSize how many tokens there are, where that is known.
 * @param addressOf how a sentence calls a node: by its place, which finds it in a file, or by its name.
 * @returns the program, each of whose weights is compared with its type when it is read.
 * @throws TypeError saying what is wrong.
 */
export function verify(
  program: Program,
  where: string,
  vocabSize?: number,
  addressOf: (node: Node, i: number) => string = (_, i) => `${where}.nodes[${i}]`,
): Program {
  const { nodes, input, result, states, weights } = program.graph;
  const total = takeApart(nodes).length;
  atMost(MOST.nodes, total, `${where}.nodes`, 'nodes');
  atMost(MOST.names, total + states.size + weights.size, where, 'names');
  const names = new Map<Ref, string>();
  const types = new Map<Ref, ValueType>(); // of what can be read
  const define = (given: Ref | undefined, what: string, at: string, type?: ValueType): void => {
    const ref = given ?? unexpected(at, 'a name', given);
    const found = names.get(ref);
    if (found) throw new TypeError(`${at} expected a new name; got ${show(ref)}, which is ${found}`);
    if (ref.length < 1 || ref.length > MOST.characters)
      unexpected(at, `a name of 1 to ${MOST.characters} characters`, ref);
    if (ref === '__metadata__' || /\p{Surrogate}/u.test(ref))
      unexpected(at, 'a name that a file of tensors can have', ref);
    names.set(ref, what);
    if (type) types.set(ref, type);
  };
  const typeOf = (ref: Ref, at: string): ValueType =>
    types.get(ref) ?? unexpected(at, 'the name of a value or weight that comes before', ref);

  count(program.graph.width ?? 1, `${where}.width`);
  define(input, 'the input', `${where}.input`, inputType(program.graph));
  for (const [ref, type] of weights) {
    const at = `${where}.weights[${show(ref)}]`;
    define(ref, 'a weight', at, type);
    if (!program.weights.has(ref)) throw new TypeError(`${at}: there are no such values`);
    if (!type.shape.every(extent => Number.isSafeInteger(extent) && extent > 0))
      wrongType(at, 'positive extents', type);
  }
  for (const [ref, type] of states) {
    const at = `${where}.states[${show(ref)}]`;
    define(ref, 'a state', at);
    checkScale(type, types, at);
  }
  const bytesOfStates = sum([...states.values()], type => 4 * sizeOf(shapeAt(type, 1)));
  atMost(MOST.bytesOfStates, bytesOfStates, `${where}.states`, 'bytes');

  const carriers = new Map<Ref, string>();
  let bytesOfToken = 0; // what it reads and writes
  /** What is the same for every token, and the bytes that it takes to make it. */
  const constants = new Map<Ref, number>([...weights.keys()].map(ref => [ref, 0]));
  const visit = (node: OpNode, at: string, isFused: boolean): void => {
    const stateOf = (ref: Ref, here: string): StateType => {
      const carrier = carriers.get(ref);
      if (carrier) throw new TypeError(`${here} expected a state of its own; got ${show(ref)} of ${carrier}`);
      carriers.set(ref, at);
      return states.get(ref) ?? unexpected(here, 'the name of a state', ref);
    };
    const { letters, outputs } = typeNode(node, typeOf, stateOf, at);
    const inputs = Object.entries(node.in);
    for (const [key, ref] of inputs) {
      if (parse(node.op.inputs[key]).dtype !== 'i32') continue;
      if (ref !== input) unexpected(`${at}.in.${key}`, `the input ${show(input)}`, ref);
      const rows = letters.get('v');
      if (
        vocabSize !== undefined &&
        node.in.w !== undefined &&
        !(typeof rows === 'number' && rows >= vocabSize)
      )
        unexpected(`${at}.in.w`, `a row for each of ${vocabSize} tokens`, rows);
    }
    for (const [key, type] of outputs) define(node.out[key], 'a value', `${at}.out.${key}`, type);
    const written = sum([...outputs.values()], bytesOf);
    if (!inputs.every(([, ref]) => constants.has(ref))) {
      bytesOfToken += written + sum(inputs, ([, ref]) => bytesOf(types.get(ref)!));
      return;
    }
    if (isFused || Object.keys(node.states).length > 0 || PRODUCTS.includes(node.op))
      throw new TypeError(`${at}.in expected a value of each token; got constants only`);
    const made = written + sum(inputs, ([, ref]) => constants.get(ref)!);
    for (const ref of Object.values(node.out)) constants.set(ref, made);
  };
  for (const [i, node] of nodes.entries()) {
    const at = addressOf(node, i);
    if (node.kind === 'op') visit(node, at, false);
    else if (node.kind === 'site') {
      const type = typeOf(node.in, `${at}.in`);
      if (type.dtype !== 'f32') wrongType(`${at}.in`, 'f32 values', type);
      define(node.out, 'a value', `${at}.out`, type);
    } else {
      atMost(MOST_IN_GROUP, node.body.length, `${at}.body`, 'nodes');
      for (const [j, inner] of node.body.entries()) visit(inner, `${at}.body[${j}]`, true);
    }
  }
  for (const ref of states.keys())
    if (!carriers.has(ref)) throw new TypeError(`${where}.states[${show(ref)}]: no node carries it`);
  checkResult(typeOf(result, `${where}.result`), `${where}.result`, vocabSize);
  checkFused(program, where);
  const bytesOfWeights = sum([...weights.values()], bytesOf);
  const bytesMade = sum([...constants.values()], bytes => bytes);
  const bytesOfValues = ROWS * bytesOfRow(program.graph, types);
  const mostOfToken = MOST.bytesOfToken + MOST_READ * (bytesOfWeights + bytesMade);
  atMost(MOST_MADE * bytesOfWeights, bytesMade, `${where}.nodes`, 'bytes of constants');
  atMost(MOST.bytesOfValues, bytesOfValues, `${where}.nodes`, 'bytes of values');
  atMost(mostOfToken, bytesOfToken, `${where}.nodes`, 'bytes to read and write for a token');
  return { ...program, weights: checked(program, where) };
}

const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((all, item) => all + of(item), 0);

function atMost(most: number, got: number, at: string, what: string): void {
  if (!(got <= most)) throw new TypeError(`${at} expected at most ${most} ${what}; got ${got}`);
}

function wrongType(at: string, expected: string, type: ValueType): never {
  throw new TypeError(`${at} expected ${expected}; got ${describe(type)}`);
}

/** For one token. A product of whole numbers is exact up to 2^53, far above all limits, and stays above them from there on. */
const bytesOf = ({ dtype, shape }: ValueType): number =>
  shape.reduce<number>((size, extent) => size * (extent === 'l' ? 1 : extent), BYTES[dtype]);

/** The bytes of the values that are needed at the same time, for one token. */
function bytesOfRow({ nodes, input, result }: Graph, types: ReadonlyMap<Ref, ValueType>): number {
  const lastRead = new Map(nodes.flatMap((node, i) => reads(node).map(ref => [ref, i] as const)));
  lastRead.set(result, nodes.length);
  const rowOf = (ref: Ref): number => {
    const type = types.get(ref)!;
    return type.shape[0] === 'l' ? bytesOf(type) : 0;
  };
  let now = rowOf(input);
  let most = 0;
  for (const [i, node] of nodes.entries()) {
    now += sum(writes(node), rowOf);
    most = Math.max(most, now);
    const isOver = (ref: Ref) => (lastRead.get(ref) ?? i) === i;
    now -= sum([...new Set([...reads(node), ...writes(node)])].filter(isOver), rowOf);
  }
  return most;
}

function checkScale(state: StateType, types: ReadonlyMap<Ref, ValueType>, at: string): void {
  const { dtype, shape, scale } = state;
  if (dtype !== 'i8' && scale !== undefined) unexpected(`${at}.scale`, `nothing beside ${dtype}`, scale);
  if (dtype !== 'i8') return;
  if (isGrowing(state)) unexpected(`${at}.type`, OF_GROWING, dtype);
  const rows = describe({ dtype: 'f32', shape: [sizeOf(shape.slice(0, -1) as readonly number[])] });
  const expected = `a weight ${rows}`;
  const type = types.get(scale ?? '') ?? unexpected(`${at}.scale`, expected, scale);
  if (describe(type) !== rows) wrongType(`${at}.scale`, expected, type);
}

function checkResult(type: ValueType, at: string, vocabSize?: number): void {
  const [rows, columns] = type.shape;
  const fits = type.dtype === 'f32' && type.shape.length === 2 && rows === 'l';
  if (!fits || (vocabSize !== undefined && columns !== vocabSize))
    wrongType(at, `f32[l, ${vocabSize ?? 'v'}]`, type);
}

/** Every fused node is one of those that its nodes give when they are fused anew. */
function checkFused(program: Program, where: string): void {
  const { nodes } = program.graph;
  if (!nodes.some(node => node.kind === 'fused')) return;
  const groups = new Map(
    fuse(program).graph.nodes.flatMap(node => (node.kind === 'fused' ? [[node.body[0], node]] : [])),
  );
  for (const [i, node] of nodes.entries()) {
    if (node.kind !== 'fused') continue;
    const { name, body } = groups.get(node.body[0]) ?? { body: [] };
    const isSame = body.length === node.body.length && body.every((inner, j) => inner === node.body[j]);
    if (name !== node.name || !isSame)
      throw new TypeError(
        `${where}.nodes[${i}]: ${show(node.name)} does not fuse these nodes; fuse the plan anew`,
      );
  }
}

/** The weights, each compared with its type when it is read. The steps of a state must be positive: it is divided by them. */
function checked({ graph, weights }: Program, where: string): Program['weights'] {
  const steps = new Set([...graph.states.values()].map(({ scale }) => scale));
  return {
    ...weights,
    read(ref) {
      const tensor: Tensor = weights.read(ref);
      const at = `${where}.weights[${show(ref)}]`;
      const type = graph.weights.get(ref);
      if (type && describe(tensor) !== describe(type))
        throw new TypeError(`${at} expected ${describe(type)}; got ${describe(tensor)}`);
      if (type && tensor.data?.length !== sizeOf(type.shape))
        throw new TypeError(
          `${at} expected ${sizeOf(type.shape)} values; got ${tensor.data?.length ?? 'none'}`,
        );
      if (type && !isArray(ARRAYS[type.dtype].name, tensor.data))
        throw new TypeError(`${at} expected its values in a ${ARRAYS[type.dtype].name}`);
      const wrong = steps.has(ref) ? tensor.data.findIndex(step => !(step > 0 && step < Infinity)) : -1;
      if (wrong >= 0)
        throw new TypeError(`${at} expected positive steps; got ${tensor.data[wrong]} at index ${wrong}`);
      return tensor;
    },
  };
}
