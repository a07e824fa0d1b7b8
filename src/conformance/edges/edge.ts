/** The parts of edge cases. */
import type { AnyOp, Attrs, BoundCall, KeptStates } from '../../op.ts';
import { ops } from '../../ops/index.ts';
import { sizeOf, type Tensor, tensor } from '../../tensor.ts';
import { random } from '../../text/random.ts';
import type { Form } from '../forms.ts';
import { type Choice, callOf, gauss, type Maker } from '../inputs.ts';
import type { Tensors } from '../named.ts';

/**
 * An op, the name of the edge, what the case shows, its inputs, and what else there is to its call: `scalesOfTokens` where it has a
 * scale for each token.
 */
export type Edge = readonly [
  op: AnyOp,
  what: string,
  says: string,
  inputs: () => Tensors,
  more?: { readonly attrs?: Attrs; readonly kept?: KeptStates; readonly scalesOfTokens?: boolean },
];

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

export const ones = (...shape: number[]) => f32By(shape, () => 1);

export const noise = (seed: number, size: number, spread = 1): number[] => {
  const next = random(seed);
  return times(size, () => spread * gauss(next));
};
export const uniform = (seed: number, size: number, from: number, to: number): number[] => {
  const next = random(seed);
  return times(size, () => from + (to - from) * next());
};

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

/** Where an exp overflows, underflows, or changes the way in which it is computed. */
export const ENDS = [
  ...[1e-45, 1e-39, 1e-20, 17.3, 18, 40, 64, 87, 87.3, 88, 88.72, 89, 100],
  ...[103.9, 104, 128, 1e4, 1e30],
].flatMap(around);

/** f32 values of every exponent and both signs, with changing mantissas, without NaN. */
export function everyExponent(count: number): Float32Array {
  const step = Math.floor(2 ** 32 / count) | 1;
  const bits = Uint32Array.from({ length: count }, (_, i) => Math.imul(i, step));
  return new Float32Array(bits.buffer).map(x => (Number.isNaN(x) ? 0 : x));
}

/** As large as can be without two opposite infinities meeting in a sum. */
const LARGE = 1e9;

const extreme: Maker = next => {
  const kind = next();
  if (kind < 0.1) return next() < 0.5 ? 0 : -0;
  return gauss(next) * [1e-41, LARGE, 20, 50, 1][Math.floor(5 * next())];
};

/** Inputs that cannot be zero or negative. */
const positive: Maker = next => Math.abs(extreme(next)) || 1;
const SIGNS: Readonly<Record<string, Maker>> = {
  scale: positive,
  xscale: positive,
  wscale: positive,
  c: positive,
  dt: next => Math.abs(extreme(next)),
  A: next => -Math.abs(extreme(next)),
  freq: next => next() * [1e-41, 1e-9, 1e-3, 1, 1][Math.floor(5 * next())],
  fed: next => Math.floor(2 ** 18 * next()),
};

/** Inputs of all magnitudes of f32, without infinities. */
export const extremeCall = (form: Form, choice: Choice): BoundCall =>
  callOf(form, choice, [], 7, key => SIGNS[key] ?? extreme);

/** Hardly anything but zeros, of both signs. */
const zero: Maker = next => [0, 0, 0, 0, -0, -0, -0, -0, 1, -1][Math.floor(10 * next())];
const unit: Maker = next => (next() < 0.5 ? 1 : -1);
const ZEROS: Readonly<Record<string, Maker>> = {
  scale: () => 1,
  xscale: () => 1,
  wscale: () => 1,
  c: () => 1,
  dt: next => Math.abs(zero(next)),
  A: next => -Math.abs(zero(next)),
  fed: next => Math.abs(zero(next)),
};
const ofAnySign = (op: AnyOp, key: string): boolean =>
  (op === ops.linearI4 && key === 'wscale') || (op === ops.dequantizeI4 && key === 'scale');

/** A call whose sums are of zeros: what a sum begins with shows, and what is added to a sum of nothing. */
export const zerosCall = (form: Form, choice: Choice, absent: readonly string[], seed: number): BoundCall =>
  callOf(
    form,
    choice,
    absent,
    seed,
    key => (ofAnySign(form.op, key) ? unit : (ZEROS[key] ?? zero)),
    next => zero(next) + 0,
  );
