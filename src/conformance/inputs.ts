/** Inputs of an op from a seed, for any sizes. Their values are like those in a model. */
import { type AnyOp, type Attrs, type BoundCall, bind } from '../op.ts';
import { packedColumns } from '../ops/nibbles.ts';
import { extent, isGrowing, parse } from '../signature.ts';
import { sizeOf, type Tensor, zeros } from '../tensor.ts';
import { random } from '../text/random.ts';
import { type Form, keptAll } from './forms.ts';

/** The sizes of a call, by letter, and its attributes, by name. */
export type Choice = Readonly<Record<string, number | boolean | string>>;

/** Nearly normal, with a standard deviation of 1. */
export const gauss = (next: () => number): number => 2 * (next() + next() + next() - 1.5);

/** Every kind of f32: zeros of both signs, denormals, huge values, infinities, NaN. */
export function wild(next: () => number): number {
  const kind = next();
  if (kind < 0.04)
    return [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN][Math.floor(3 * next())];
  if (kind < 0.14) return next() < 0.5 ? 0 : -0;
  return 2 * gauss(next) * [1e-41, 1e38, 20, 50, 1][Math.floor(5 * next())];
}

export type Maker = (next: () => number) => number;

/** A few that lie on a tie of a scale of 1/64, beyond the range, or infinitely far. */
const quantizable: Maker = next => {
  const kind = next();
  if (kind < 0.3) return (Math.floor(next() * 300) - 150 + 0.5) / 64;
  if (kind < 0.31) return next() < 0.5 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return 2 * gauss(next);
};
const scale: Maker = next => [1 / 64, 0.013, 0.0371][Math.floor(3 * next())];

/** How inputs are made that cannot be any float: scales are positive, and a scan must decay. */
const MAKERS: Readonly<Record<string, Maker>> = {
  'quantize x': quantizable,
  'quantize scale': scale,
  'dequantize scale': scale,
  'dequantize-i4 scale': next => (next() < 0.5 ? -1 : 1) * scale(next),
  'embedding-i8 scale': scale,
  'linear-i8 xscale': scale,
  'linear-i8 wscale': scale,
  'linear-i4 xscale': scale,
  'linear-i4 wscale': scale,
  'selective-scan dt': next => Math.abs(gauss(next)) / 4,
  'selective-scan A': next => -16 * next(),
  'ssd-scan dt': next => (next() < 0.1 ? 3 : -4) + 1.5 * gauss(next), // softplus makes it 0.001 to 0.1, and sometimes much
  'ssd-scan A': next => -1 - 15 * next(),
  'scale-channels c': next => 0.25 + 4 * next(),
  'rope cos': next => 2 * next() - 1,
  'rope sin': next => 2 * next() - 1,
  'rope-table freq': next => next() ** 4,
  'rope-table fed': next => Math.floor(4000 * next()),
};

export const integer: Maker = next => (next() < 0.1 ? -128 : Math.floor(next() * 256) - 128);

/** What the letters stand for: of those that are not given, h is the bytes of i (or n) halves, s, p, g and v are 1, and t is 0. */
export const sizesOf = (choice: Choice): Choice => ({
  ...{ s: 1, p: 1, g: 1, v: 1, t: 0, h: packedColumns((choice.i ?? choice.n) as number) },
  ...choice,
});

/** A long input comes again after so many values, a prime, since to draw millions would take longer than to judge them. */
const PERIOD = 131071;

/** The tensor of an input. Tokens lie in 0 … v−1. */
export function inputOf(
  op: AnyOp,
  key: string,
  choice: Choice,
  next: () => number,
  float: Maker,
  code = integer,
): Tensor {
  const { dtype, axes } = parse(op.inputs[key] ?? op.states[key]);
  const sizes = sizesOf(choice);
  const shape = axes.map(axis => extent(axis, sizes as Record<string, number>)!);
  const made = zeros(dtype, shape);
  const make: Maker =
    dtype === 'i32' ? () => Math.floor(next() * (sizes.v as number)) : dtype === 'i8' ? code : float;
  const { data } = made;
  for (let i = 0; i < Math.min(data.length, PERIOD); i++) data[i] = make(next);
  for (let at = PERIOD; at < data.length; at += PERIOD) data.copyWithin(at, 0, PERIOD);
  return made;
}

export const attrsOf = (op: AnyOp, choice: Choice): Attrs =>
  Object.fromEntries(Object.keys(op.attrs).flatMap(key => (key in choice ? [[key, choice[key]]] : [])));

/**
 * What may be left out of a call: optional inputs, and states, which then are those of the start of a text. One that grows is empty
 * there: it is left out by t = 0.
 */
export const optionalOf = (op: AnyOp): readonly string[] => [
  ...Object.keys(op.inputs).filter(key => (op.inputs[key] as string).endsWith('?')),
  ...Object.keys(op.states).filter(key => !isGrowing(parse(op.states[key]))),
];

/** Steps of a state in int8, in which some values saturate. */
function stepsFor(op: AnyOp, choice: Choice, seed: number): Float32Array {
  const next = random(500 * seed);
  const { shape } = inputOf(op, Object.keys(op.states)[0], choice, next, gauss);
  return Float32Array.from({ length: sizeOf(shape.slice(0, -1)) }, () => 0.002 + 0.02 * next());
}

/** A call of these sizes, without the inputs in `absent`. `makerOf` says how the values of an input are made, `code` its i8. */
export function callOf(
  { op, dtype }: Pick<Form, 'op' | 'dtype'>,
  choice: Choice,
  absent: readonly string[],
  seed: number,
  makerOf: (key: string) => Maker,
  code?: Maker,
): BoundCall {
  const inputs: Record<string, Tensor> = {};
  for (const [i, key] of Object.keys({ ...op.inputs, ...op.states }).entries())
    if (!absent.includes(key))
      inputs[key] = inputOf(op, key, choice, random(1000 * seed + i), makerOf(key), code);
  const kept = keptAll(op, { dtype, ...(dtype === 'i8' && { scale: stepsFor(op, choice, seed) }) });
  return bind(op, inputs, attrsOf(op, choice), kept);
}

/** A call with values like those in a model. */
export const ordinaryCall = (
  form: Pick<Form, 'op' | 'dtype'>,
  choice: Choice,
  absent: readonly string[] = [],
  seed = 1,
): BoundCall => callOf(form, choice, absent, seed, key => MAKERS[`${form.op.name} ${key}`] ?? gauss);
