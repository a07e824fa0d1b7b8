/**
 * The types of the values of a graph, from the signatures of its ops, before anything runs. Unlike `bind`, which has the tensors
 * of one call, this has the number of tokens as a letter: what holds here holds for every call.
 */
import { plain, unexpected } from '../formats/json.ts';
import {
  type Extent,
  type Graph,
  inputType,
  type Node,
  type OpNode,
  type Ref,
  takeApart,
  type ValueType,
  writes,
} from '../graph.ts';
import { type AnyOp, violated } from '../op.ts';
import { type Axis, extent, parse, solved, unknownOf } from '../signature.ts';
import type { StateType } from '../state.ts';
import { describe } from '../tensor.ts';

/** The type of every value and weight: what a table prints and what a backend sizes its memory by. */
export function inferTypes(graph: Graph): ReadonlyMap<Ref, ValueType> {
  const types = new Map<Ref, ValueType>([...graph.weights, [graph.input, inputType(graph)]]);
  const typeOf = (ref: Ref, at: string): ValueType => types.get(ref) ?? unexpected(at, 'a defined name', ref);
  const stateOf = (ref: Ref, at: string): StateType =>
    graph.states.get(ref) ?? unexpected(at, 'the name of a state', ref);
  for (const node of takeApart(graph.nodes)) {
    if (node.kind === 'site') types.set(node.out, typeOf(node.in, node.out));
    else {
      const { outputs } = typeNode(node, typeOf, stateOf, nameOf(node));
      for (const [key, type] of outputs) types.set(node.out[key], type);
    }
  }
  return types;
}

/** How errors call a node of a program that was made by hand: the op, and its value. */
export const nameOf = (node: Node): string =>
  `${node.kind === 'op' ? node.op.name : node.kind} ${plain(writes(node)[0] ?? 'without a value')}`;

/** The letters of axes that may be as long as the call: its tokens, and scales of which each token has its own. */
const OF_TOKENS = ['l', 's'];

/**
 * @param where begins the sentence of an error: the file and the node.
 * @returns the extents of the letters of a node's signatures, and its outputs' types by key.
 * @throws TypeError where an input, a state or an attribute is not of its signature, or a constraint of the op does not hold.
 */
export function typeNode(
  { op, in: inputs, states, out, attrs }: OpNode,
  typeOf: (ref: Ref, at: string) => ValueType,
  stateOf: (ref: Ref, at: string) => StateType,
  where: string,
): { readonly letters: ReadonlyMap<string, Extent>; readonly outputs: ReadonlyMap<string, ValueType> } {
  checkKeys(inputs, op.inputs, `${where}.in`);
  checkKeys(states, op.states, `${where}.states`);
  checkKeys(out, op.outputs, `${where}.out`);
  checkKeys(attrs, op.attrs, `${where}.attrs`);
  const values = { ...op.attrs, ...attrs };
  const letters = new Map<string, Extent>();
  for (const [key, value] of Object.entries(values)) {
    checkAttribute(op, key, value, `${where}.attrs.${key}`);
    if (typeof value === 'number') letters.set(key, value);
  }
  /** Whether an axis has this extent; the first that has a letter decides what it is. */
  const fits = (axis: Axis, size: Extent | 't'): boolean => {
    const [letter] = axis.letters;
    if (letter === undefined) return size === axis.size;
    if (size === 't' || letter === 't') return size === letter;
    if (size === 'l' || letters.get(letter) === 'l') {
      if (axis.minus > 0 || axis.letters.length > 1 || !OF_TOKENS.includes(letter)) return false;
      if (!letters.has(letter)) letters.set(letter, size);
      return letters.get(letter) === size;
    }
    const known = Object.fromEntries(letters) as Record<string, number>;
    const [unknown] = unknownOf(axis, known);
    if (unknown) letters.set(unknown, (known[unknown] = solved(axis, known, size)));
    return extent(axis, known) === size && axis.letters.every(each => Number.isInteger(known[each]));
  };
  const unify = (signature: string, shape: readonly (Extent | 't')[], got: string, at: string): void => {
    const { axes, text } = parse(signature);
    if (axes.length === shape.length && axes.every((axis, i) => fits(axis, shape[i]))) return;
    const known = axes
      .flatMap(axis => axis.letters)
      .flatMap(letter => (letters.has(letter) ? [`${letter}=${letters.get(letter)}`] : []));
    const given = known.length ? ` with ${[...new Set(known)].join(', ')}` : '';
    throw new TypeError(`${at} expected ${text}${given}; got ${got}`);
  };
  for (const [key, signature] of Object.entries<string>(op.inputs)) {
    const { dtype, text, optional } = parse(signature);
    const at = `${where}.in.${key}`;
    if (inputs[key] === undefined && optional) continue;
    const type = typeOf(inputs[key], at);
    if (type.dtype !== dtype) throw new TypeError(`${at} expected ${text}; got ${describe(type)}`);
    unify(signature, type.shape, describe(type), at);
  }
  for (const [key, signature] of Object.entries<string>(op.states)) {
    const at = `${where}.states.${key}`;
    const type = stateOf(states[key], at);
    unify(signature, type.shape, describe(type), at);
  }
  const problem = violated(op, { ...values, ...Object.fromEntries(letters) });
  if (problem) throw new TypeError(`${where}: ${problem}`);
  const outputs = Object.entries(op.outputs).map(([key, signature]) => {
    const { dtype, axes } = parse(signature as string);
    const known = Object.fromEntries(letters) as Record<string, number>;
    const shape = axes.map(
      (axis): Extent => (letters.get(axis.letters[0]) === 'l' ? 'l' : extent(axis, known)!),
    );
    return [key, { dtype, shape }] as const;
  });
  return { letters, outputs: new Map(outputs) };
}

function checkKeys(given: object, known: object, where: string): void {
  for (const key of Object.keys(given))
    if (!Object.hasOwn(known, key)) unexpected(where, Object.keys(known).join(', ') || 'nothing', key);
}

/** An attribute is of its default's kind. One that is a letter of a signature is a whole number. */
function checkAttribute(op: AnyOp, key: string, value: unknown, where: string): void {
  const usual = op.attrs[key];
  const signatures: readonly string[] = Object.values({ ...op.inputs, ...op.states, ...op.outputs });
  const isSize = signatures.some(signature => parse(signature).axes.some(axis => axis.letters.includes(key)));
  const expected = isSize
    ? 'a whole number'
    : typeof usual === 'number'
      ? 'a finite number of f32'
      : `a ${typeof usual}`;
  const fits =
    typeof value === typeof usual &&
    (typeof value !== 'number' || isOfF32(value)) &&
    (!isSize || Number.isSafeInteger(value));
  if (!fits) unexpected(where, expected, value);
}

/** Whether the f32 next to it is finite, and not 0 unless it is. */
const isOfF32 = (value: number): boolean =>
  Number.isFinite(Math.fround(value)) && (Math.fround(value) === 0) === (value === 0);
