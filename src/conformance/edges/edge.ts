/** The parts of edge cases. */
import { type AnyOp, type Attrs, type BoundCall, bind, type KeptStates } from '../../op.ts';
import { sizeOf, type Tensor, tensor } from '../../tensor.ts';
import { random } from '../../text/random.ts';
import { type Form, keptAll } from '../forms.ts';
import { attrsOf, type Choice, gauss, inputOf, stepsFor } from '../inputs.ts';

/** An op, the name of the edge, what the case shows, its inputs, and what else there is to its call. */
export type Edge = readonly [
  op: AnyOp,
  what: string,
  says: string,
  inputs: () => Inputs,
  more?: { readonly attrs?: Attrs; readonly kept?: KeptStates },
];
export type Inputs = Readonly<Record<string, Tensor>>;

/** An edge, written as one call. */
export const edge = (...parts: Edge): Edge => parts;

export const f32 = (values: Iterable<number>, ...shape: number[]): Tensor<'f32'> => {
  const data = Float32Array.from(values);
  return tensor(data, shape.length ? shape : [1, data.length]);
};
export const i8 = (values: Iterable<number>, ...shape: number[]): Tensor<'i8'> =>
  tensor(Int8Array.from(values), shape);

/** A matrix by its rows. */
export const f32Rows = (rows: readonly (readonly number[])[]): Tensor<'f32'> =>
  f32(rows.flat(), rows.length, rows[0].length);
/** A tensor of this shape, whose element i is `make(i)`. */
export const f32By = (shape: readonly number[], make: (i: number) => number): Tensor<'f32'> =>
  f32(times(sizeOf(shape), make), ...shape);
export const i8By = (shape: readonly number[], make: (i: number) => number): Tensor<'i8'> =>
  i8(times(sizeOf(shape), make), ...shape);

export const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
export const both = (values: readonly number[]): number[] => values.flatMap(x => [x, -x]);

const FLOAT = new Float32Array(1);
const BITS = new Int32Array(FLOAT.buffer);

/** The f32 that is `steps` values further from zero than x. */
export function beside(x: number, steps: number): number {
  FLOAT[0] = x;
  BITS[0] += steps;
  return FLOAT[0];
}
/** x rounded to f32, and its neighbours on both sides, as far as zero. */
export const around = (x: number): number[] =>
  [-2, -1, 0, 1, 2].map(steps => beside(x, steps)).filter(value => !Number.isNaN(value));

/** f32 values of every exponent and both signs, with changing mantissas, without NaN. */
export function everyExponent(count: number): Float32Array {
  const step = Math.floor(2 ** 32 / count) | 1;
  const bits = Uint32Array.from({ length: count }, (_, i) => Math.imul(i, step));
  return new Float32Array(bits.buffer).map(x => (Number.isNaN(x) ? 0 : x));
}

/** As large as can be without two opposite infinities meeting in a sum. */
const LARGE = 1e9;

function extreme(next: () => number): number {
  const kind = next();
  if (kind < 0.1) return next() < 0.5 ? 0 : -0;
  return gauss(next) * [1e-41, LARGE, 20, 50, 1][Math.floor(5 * next())];
}

/** Inputs that cannot be zero or negative. */
const positive = (next: () => number): number => Math.abs(extreme(next)) || 1;
const SIGNS: Readonly<Record<string, (next: () => number) => number>> = {
  scale: positive,
  xscale: positive,
  wscale: positive,
  c: positive,
  dt: next => Math.abs(extreme(next)),
  A: next => -Math.abs(extreme(next)),
};

/** Inputs of all magnitudes of f32, without infinities. */
export function extremeCall({ op, dtype }: Form, choice: Choice): BoundCall {
  const inputs = Object.keys({ ...op.inputs, ...op.states }).map((key, i) => [
    key,
    inputOf(op, key, choice, random(7000 + i), SIGNS[key] ?? extreme),
  ]);
  const kept = keptAll(op, { dtype, ...(dtype === 'i8' && { scale: stepsFor(op, choice, 7) }) });
  return bind(op, Object.fromEntries(inputs), attrsOf(op, choice), kept);
}
