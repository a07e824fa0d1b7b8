/**
 * What an op is: a name, a formula, signatures, numbered constraints and a plain reference.
 *
 * The signatures do the validation, so that no op file contains any. `bind` solves their letters from the inputs that
 * came, checks every rule, and its errors all have one form:
 *
 *     fwht C1: n must be K·2^k where Paley gives …; got n=6
 *     linear: w expected f32[o, i] with i=65; got f32[256, 64]
 */
import {
  extent,
  type Inputs,
  isGrowing,
  type Parsed,
  parse,
  type Signatures,
  solved,
  type Tensors,
  unknownOf,
} from './signature.ts';
import { AS_F32, checkKept, type Kept, type StateView, stateView } from './state.ts';
import { type Data, describe, dtypeOf, type Signature, sizeOf, type Tensor, zeros } from './tensor.ts';

export type Attrs = Readonly<Record<string, number | boolean | string>>;
/** The letters of the signatures with their values in one call, and the numeric attributes. */
export type Dims = Readonly<Record<string, number>>;

/** States by name, typed by their signatures: those of the text so far, which become those after this call. */
export type States<S extends Signatures> = { readonly [K in keyof S]: StateView };
/** How each state is kept; f32 where nothing is said. */
export type KeptStates<S extends Signatures = Signatures> = { readonly [K in keyof S]?: Kept };

/** Writes every element of every output; reads inputs only; keeps nothing but its states. */
export type Kernel<
  I extends Signatures,
  O extends Signatures,
  A extends Attrs,
  S extends Signatures = NoStates,
> = (
  inputs: Tensors<I>,
  attrs: A,
  outputs: Tensors<O>,
  dims: Dims,
  ...states: keyof S extends never ? [] : [states: States<S>]
) => void;
type NoStates = Readonly<Record<never, never>>;

/** `C1: [text, holds]`: the text is completed by the values that `holds` looked at. */
export type Constraint<A extends Attrs> = readonly [text: string, holds: (values: Dims & A) => boolean];

export interface OpSpec<I extends Signatures, O extends Signatures, A extends Attrs, S extends Signatures> {
  /** kebab-case; the file, the golden folder, the assembly file and the test address have the same. */
  readonly name: string;
  readonly formula: string;
  readonly inputs: I;
  readonly outputs: O;
  /** What is carried from token to token, by name. A first axis `t` is the number of tokens fed so far: the state grows. */
  readonly states?: S;
  /** The attributes with their defaults. */
  readonly attrs?: A;
  readonly constraints?: Readonly<Record<string, Constraint<A>>>;
  readonly reference: Kernel<I, O, A, S>;
  /** Sizes and attributes around which tests walk. */
  readonly sweep: Readonly<Record<string, readonly (number | boolean | string)[]>>;
}

/**
 * An op can be called: `fwht({ x }, { inverse: true })` checks its inputs, runs the reference and returns its outputs.
 *
 * A state stands beside the inputs, by its name, and comes back beside the outputs: `selectiveScan({ u, dt, A, B, C, h }).h`.
 * One that is left out is that of the start of a text. How it is kept is the third argument: `{ h: { dtype: 'f16' } }`.
 */
export interface Op<
  I extends Signatures = Signatures,
  O extends Signatures = Signatures,
  A extends Attrs = Attrs,
  S extends Signatures = NoStates,
> extends Required<Omit<OpSpec<I, O, A, S>, 'name'>> {
  (
    inputs: Inputs<I> & Partial<Inputs<S>>,
    attrs?: Partial<A>,
    kept?: KeptStates<S>,
  ): Tensors<O> & { readonly [K in keyof S]: Tensor<'f32'> };
  readonly name: string;
}
/** An op whose exact signatures do not matter. */
// biome-ignore lint/suspicious/noExplicitAny: the reference's parameters are contravariant
export type AnyOp = Op<any, any, any, any>;

export function defineOp<
  const I extends Signatures,
  const O extends Signatures,
  A extends Attrs = Readonly<Record<never, never>>,
  const S extends Signatures = NoStates,
>(spec: OpSpec<I, O, A, S>): Op<I, O, A, S> {
  const call = (inputs: Inputs<I>, attrs?: Partial<A>, kept?: KeptStates) => {
    const bound = bind(op, inputs as Loose, attrs as Partial<Attrs>, kept);
    (op as AnyOp).reference(bound.inputs, bound.attrs, bound.outputs, bound.dims, bound.states);
    return resultsOf(bound) as ReturnType<Op<I, O, A, S>>;
  };
  const { name, ...rest } = spec;
  Object.defineProperty(call, 'name', { value: name });
  const defaults = { attrs: {} as A, constraints: {}, states: {} as S };
  const op = Object.freeze(Object.assign(call, { ...defaults, ...rest })) as unknown as Op<I, O, A, S>;
  return op;
}

/** The letters that are known so far. */
type Solved = Record<string, number>;
type Loose = Readonly<Record<string, Tensor | Data | StateView | undefined>>;

/** One call with its letters solved, its outputs allocated (zeros) and its states ready. */
export interface BoundCall {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly states: Readonly<Record<string, StateView>>;
  readonly attrs: Attrs;
  readonly dims: Dims;
}

/** An op, and how its states are kept where that is not f32, in one word: `selective-scan`, `selective-scan/f16`. */
export function formOf(op: AnyOp, kept: KeptStates = {}): string {
  const dtypes = Object.keys(op.states).map(key => kept[key]?.dtype ?? 'f32');
  const others = new Set(dtypes.filter(dtype => dtype !== 'f32'));
  return [op.name, ...others].join('/');
}

type Named = BoundCall['inputs'];

const withStates = (tensors: Named, states: BoundCall['states']): Named => {
  const all: Record<string, Tensor> = { ...tensors };
  for (const [key, { shape, data }] of Object.entries(states)) all[key] = { dtype: 'f32', shape, data };
  return all;
};

/** The inputs of a call, and the states before it, by name. */
export const givenOf = (call: Pick<BoundCall, 'inputs' | 'states'>): Named =>
  withStates(call.inputs, call.states);

/** The outputs of a call, and the states after it, by name. */
export const resultsOf = (call: Pick<BoundCall, 'outputs' | 'states'>): Named =>
  withStates(call.outputs, call.states);

/**
 * Checks a call against the op's signatures and constraints, and allocates its outputs.
 *
 * A state may be given as a tensor, which is copied and rounded to how it is kept, or as a view, which the kernel changes.
 * A plain typed array takes its shape from the letters that are known. Where they do not determine it, its first axis
 * is taken as 1: an array of n values is one row of `f32[l, n]`.
 *
 * @throws TypeError on a wrong name, dtype or rank; RangeError on a wrong size or a violated constraint.
 */
export function bind(op: AnyOp, inputs: Loose, attrs: Partial<Attrs> = {}, kept: KeptStates = {}): BoundCall {
  const values = bindAttrs(op, attrs);
  const dims: Solved = {};
  for (const key in values) if (typeof values[key] === 'number') dims[key] = values[key];
  const bound: Record<string, Tensor> = {};
  const plain: string[] = [];
  const later: [key: string, value: Tensor][] = [];
  const signatures: Readonly<Record<string, Signature>> = { ...op.inputs, ...op.states };
  const isState = (key: string) => Object.hasOwn(op.states, key);

  checkNames(op, 'input', inputs, signatures);
  checkNames(op, 'state', kept, op.states);
  for (const key in signatures) {
    const signature = parse(signatures[key]);
    const value = inputs[key];
    if (value === undefined) {
      if (!signature.optional && !isState(key))
        throw new TypeError(`${op.name}: input ${key} (${op.inputs[key]}) is missing`);
    } else if (isView(value)) {
      unifyView(op, key, signature, value, dims);
    } else if (ArrayBuffer.isView(value)) {
      if (dtypeOf(value as Data) !== signature.dtype)
        throw new TypeError(
          `${op.name}: ${key} expected ${signature.text}; got ${dtypeOf(value as Data)} values`,
        );
      plain.push(key);
    } else if (!isTensor(value)) {
      const got = Array.isArray(value) ? 'an array' : value;
      throw new TypeError(`${op.name}: ${key} expected ${signature.text} or a typed array; got ${got}`);
    } else {
      // an axis of two letters says nothing until another input gives one of them
      if (signature.axes.some(axis => unknownOf(axis, dims).length > 1)) later.push([key, value]);
      else unify(op, key, signature, value, dims);
      bound[key] = value;
    }
  }
  for (const [key, value] of later) unify(op, key, parse(signatures[key]), value, dims);
  while (plain.length) {
    const unknown = (key: string) =>
      new Set(parse(signatures[key]).axes.flatMap(a => unknownOf(a, dims))).size;
    const next = plain.reduce((best, key) => (unknown(key) < unknown(best) ? key : best));
    plain.splice(plain.indexOf(next), 1);
    bound[next] = shaped(op, next, signatures[next], inputs[next] as Data, dims);
  }
  if (Object.keys(op.states).length > 0) dims.t ??= 0;
  const problem = violated(op, { ...values, ...dims });
  if (problem) throw new RangeError(problem);

  const outputs: Record<string, Tensor> = {};
  for (const key in op.outputs) {
    const { dtype, axes } = parse(op.outputs[key]);
    const shape = axes.map(a => extent(a, dims)!);
    outputs[key] = zeros(dtype, shape);
  }
  const states: Record<string, StateView> = {};
  for (const key in op.states) {
    const given = inputs[key];
    states[key] = isView(given)
      ? given
      : startOf(op, key, dims, kept[key] ?? AS_F32, bound[key]?.data as Float32Array | undefined);
    delete bound[key];
  }
  return { inputs: bound, outputs, states, attrs: values, dims };
}

const isView = (value: unknown): value is StateView =>
  typeof value === 'object' && value !== null && 'put' in value && typeof value.put === 'function';
const isTensor = (value: unknown): value is Tensor =>
  typeof value === 'object' && value !== null && 'data' in value && 'shape' in value;

/** @throws TypeError for a name that is none of `names`. */
function checkNames(op: AnyOp, what: string, given: object, names: object): void {
  for (const key in given)
    if (!Object.hasOwn(names, key))
      throw new TypeError(
        `${op.name}: no ${what} '${key}'; expected ${Object.keys(names).join(', ') || 'none'}`,
      );
}

/** A state with the values that were given, and with room for the tokens of this call where it grows. */
function startOf(op: AnyOp, key: string, dims: Dims, kept: Kept, given?: Float32Array): StateView {
  const signature = parse(op.states[key]);
  const more = isGrowing(signature) ? dims.l : 0;
  const shape = signature.axes.map((axis, i) => extent(axis, dims)! + (i === 0 ? more : 0));
  checkKept(`${op.name}: state ${key}`, kept, shape, isGrowing(signature));
  const view = stateView(kept, shape);
  if (given) view.put(0, given);
  return view;
}

/** The letters of a state that is there already. A growing one has room for the tokens of this call. */
function unifyView(op: AnyOp, key: string, signature: Parsed, view: StateView, dims: Solved): void {
  const { shape, data } = view;
  const past = isGrowing(signature) ? [shape[0] - dims.l, ...shape.slice(1)] : shape;
  unify(op, key, signature, { dtype: 'f32', shape: past, data: data.subarray(0, sizeOf(past)) }, dims);
}

function bindAttrs(op: AnyOp, attrs: Partial<Attrs>): Attrs {
  const values: Record<string, number | boolean | string> = { ...op.attrs };
  checkNames(op, 'attribute', attrs, op.attrs);
  for (const [key, value] of Object.entries(attrs)) {
    if (value === undefined) continue;
    if (typeof value !== typeof values[key])
      throw new TypeError(
        `${op.name}: attribute ${key} expected a ${typeof values[key]}; got ${JSON.stringify(value)}`,
      );
    values[key] = value;
  }
  return values;
}

function unify(op: AnyOp, key: string, signature: Parsed, value: Tensor, dims: Solved): void {
  const { dtype, axes } = signature;
  if (value.dtype !== dtype || value.shape.length !== axes.length)
    throw new TypeError(`${op.name}: ${key} expected ${signature.text}; got ${describe(value)}`);
  for (const [i, axis] of axes.entries()) {
    const { letters } = axis;
    const [unknown] = unknownOf(axis, dims);
    if (unknown) dims[unknown] = solved(axis, dims, value.shape[i]);
    if (extent(axis, dims) !== value.shape[i] || !letters.every(each => Number.isInteger(dims[each]))) {
      const known = letters.flatMap(each => (each === unknown ? [] : `${each}=${dims[each]}`));
      const given = known.length ? ` with ${known.join(', ')}` : '';
      throw new RangeError(`${op.name}: ${key} expected ${signature.text}${given}; got ${describe(value)}`);
    }
  }
  if (sizeOf(value.shape) !== value.data.length)
    throw new RangeError(`${op.name}: ${key} says ${describe(value)} but holds ${value.data.length} values`);
}

function shaped(op: AnyOp, key: string, signature: string, data: Data, dims: Solved): Tensor {
  const { dtype, axes, text } = parse(signature);
  const missing = axes.filter(a => extent(a, dims) === undefined);
  for (const axis of missing.slice(0, -1)) dims[unknownOf(axis, dims)[0]] = solved(axis, dims, 1);
  const last = missing.at(-1);
  if (last && extent(last, dims) === undefined) {
    const rest = axes.filter(a => a !== last).reduce((size, a) => size * extent(a, dims)!, 1);
    dims[unknownOf(last, dims)[0]] = solved(last, dims, data.length / rest);
  }
  const shape = axes.map(a => extent(a, dims)!);
  if (sizeOf(shape) !== data.length || !shape.every(Number.isInteger)) {
    const known = axes
      .flatMap(a => a.letters)
      .flatMap(letter => (Number.isInteger(dims[letter]) ? `${letter}=${dims[letter]}` : []));
    throw new RangeError(
      `${op.name}: ${key} expected ${text} with ${known.join(', ')}; got ${data.length} values`,
    );
  }
  return { dtype, shape, data } as Tensor;
}

/** The first constraint of the op that these values break, with the values that it looked at; undefined where all hold. */
export function violated(op: AnyOp, values: Readonly<Record<string, unknown>>): string | undefined {
  for (const label in op.constraints) {
    const [text, holds] = op.constraints[label] as Constraint<Attrs>;
    if (holds(values as Dims & Attrs)) continue;
    const seen = new Map<string, unknown>();
    const watch = (all: Dims & Attrs, name: string) => {
      seen.set(name, all[name]);
      return all[name];
    };
    holds(new Proxy(values as Dims & Attrs, { get: watch }));
    const got = [...seen].map(([k, v]) => `${k}=${v}`).join(', ');
    return `${op.name} ${label}: ${text}; got ${got}`;
  }
  return undefined;
}
