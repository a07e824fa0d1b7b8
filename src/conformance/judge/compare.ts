/**
 * Judges the outputs of a call against the reference's.
 *
 *   exact      the same bits: −0 is not +0
 *   tolerant   |got − expected| ≤ bound for each element. The mean of got − expected is within ± bias, and so is the mean of
 *              the errors toward 0, in which truncation shows. Integers are equal, but for a stated share.
 *
 * In both, a NaN is wrong whatever was expected. So is an output that is missing, that was not asked for, or that has another type or
 * shape.
 */
import { type Data, describe, sizeOf, type Tensor } from '../../tensor.ts';
import type { Mismatch, Profile, Tolerance } from '../case.ts';
import type { Tensors } from '../named.ts';

export interface Comparison {
  /** The mismatch of the first wrong output. */
  readonly mismatch?: Mismatch;
  /** The largest |error| / bound of all outputs, bias included: 0 where all are equal, above 1 where one is wrong. */
  readonly worst: number;
}

/** An output without a tolerance has the bound 0. */
export function compare(
  expected: Tensors,
  got: Tensors,
  profile: Profile,
  tolerances: Readonly<Record<string, Tolerance>> = {},
): Comparison {
  const names = [...new Set([...Object.keys(expected), ...Object.keys(got)])];
  const results = names.map(name => {
    const fault = structureFault(expected[name], got[name]);
    if (fault) return unfit(name, expected[name], fault);
    return profile === 'exact'
      ? compareBits(name, expected[name], got[name])
      : compareWithin(name, expected[name], got[name], tolerances[name]);
  });
  return {
    mismatch: results.find(result => result.mismatch)?.mismatch,
    worst: Math.max(0, ...results.map(result => result.worst)),
  };
}

function structureFault(expected: Tensor | undefined, got: Tensor | undefined): string | undefined {
  if (!expected) return `no output of this name was expected; got ${describe(got!)}`;
  if (!got) return `expected ${describe(expected)}; got no output of this name`;
  if (describe(got) !== describe(expected)) return `expected ${describe(expected)}; got ${describe(got)}`;
  if (got.data.length !== expected.data.length)
    return `expected ${expected.data.length} values; got ${got.data.length}`;
  return undefined;
}

/** The mismatch of an output as a whole: no single element has it. */
const ofWhole = (tensor: string, shape: Mismatch['shape'], expected: number, got: number): Mismatch => ({
  ...{ tensor, shape, index: [], expected, got, ulp: Number.POSITIVE_INFINITY },
  ...{ bound: 0, formula: '', wrong: 0, of: 0 },
});

/** The result for an output whose elements cannot be compared. */
function unfit(name: string, expected: Tensor | undefined, fault: string): Comparison {
  const shape = expected?.shape ?? [];
  const of = expected ? sizeOf(shape) : 0;
  const mismatch = { ...ofWhole(name, shape, Number.NaN, Number.NaN), formula: fault, wrong: of, of };
  return { mismatch, worst: Number.POSITIVE_INFINITY };
}

function compareBits(name: string, expected: Tensor, got: Tensor): Comparison {
  const isWrong = (i: number) => Number.isNaN(got.data[i]) || !Object.is(got.data[i], expected.data[i]);
  const wrong = indicesOf(got.data, isWrong);
  if (!wrong.length) return { worst: 0 };
  const mismatch = mismatchAt(name, expected, got, wrong, 0, 'the same bits');
  return { mismatch, worst: Number.POSITIVE_INFINITY };
}

const NO_TOLERANCE: Tolerance = { formula: 'the same values', bounds: new Float64Array(), bias: 0 };

function compareWithin(
  name: string,
  expected: Tensor,
  got: Tensor,
  { formula, bounds, bias, share }: Tolerance = NO_TOLERANCE,
): Comparison {
  const bound = (i: number) => bounds[i] ?? 0;
  const size = got.data.length;
  let worst = 0;
  let sum = 0;
  let outward = 0;
  let unequal = 0;
  const wrong: number[] = [];
  for (let i = 0; i < size; i++) {
    const error = errorOf(expected.data[i], got.data[i]);
    sum += error;
    outward += error * Math.sign(expected.data[i]);
    if (error !== 0) unequal++;
    const units = inUnitsOf(Math.abs(error), bound(i));
    worst = Math.max(worst, units);
    if (units > 1) wrong.push(i);
  }
  if (wrong.length)
    return { mismatch: mismatchAt(name, expected, got, wrong, bound(wrong[0]), formula), worst };

  if (share !== undefined) {
    const most = Math.ceil(share * size);
    worst = Math.max(worst, inUnitsOf(unequal, most));
    if (unequal > most) {
      const differing = indicesOf(got.data, i => got.data[i] !== expected.data[i]);
      const rule = `${formula}; at most ${most} of ${size} may differ`;
      return { mismatch: mismatchAt(name, expected, got, differing, bound(differing[0]), rule), worst };
    }
  }
  const mean = (Math.abs(outward) > Math.abs(sum) ? outward : sum) / Math.max(size, 1);
  worst = Math.max(worst, inUnitsOf(Math.abs(mean), bias));
  if (inUnitsOf(Math.abs(mean), bias) <= 1) return { worst };
  const about = {
    bound: bias,
    formula: `the mean of the signed errors: ${formula}`,
    wrong: unequal,
    of: size,
  };
  return { mismatch: { ...ofWhole(name, expected.shape, 0, mean), ...about }, worst };
}

/** A value that is rounded to infinity is 2¹²⁸ or more. So infinity counts as 2¹²⁸: the bound may allow an overflow near it. */
const OVERFLOW = 2 ** 128;
const finite = (x: number): number => Math.min(Math.max(x, -OVERFLOW), OVERFLOW);

const errorOf = (expected: number, got: number): number =>
  got === expected ? 0 : finite(got) - finite(expected);

/** error / bound, where 0 / 0 is 0. For a NaN it is Infinity, so that the element does not pass. */
function inUnitsOf(error: number, bound: number): number {
  if (error === 0) return 0;
  const units = error / bound;
  return Number.isNaN(units) ? Number.POSITIVE_INFINITY : units;
}

function indicesOf(data: Data, holds: (i: number) => boolean): number[] {
  const found: number[] = [];
  for (let i = 0; i < data.length; i++) if (holds(i)) found.push(i);
  return found;
}

function mismatchAt(
  name: string,
  expected: Tensor,
  got: Tensor,
  wrong: readonly number[],
  bound: number,
  formula: string,
): Mismatch {
  const [i] = wrong;
  return {
    tensor: name,
    shape: expected.shape,
    index: indexOf(i, expected.shape),
    expected: expected.data[i],
    got: got.data[i],
    ulp: ulpsBetween(expected.data[i], got.data[i], expected.dtype === 'f32'),
    bound,
    formula,
    wrong: wrong.length,
    of: got.data.length,
  };
}

/** The index of element i along each axis. */
function indexOf(i: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
    index[axis] = rest % shape[axis];
    rest = Math.floor(rest / shape[axis]);
  }
  return index;
}

const FLOAT = new Float32Array(1);
const BITS = new Int32Array(FLOAT.buffer);

/** The place of x among all f32 values, where −0 and +0 are both at 0. */
function rank(x: number): number {
  FLOAT[0] = x;
  return BITS[0] < 0 ? -(BITS[0] & 0x7fffffff) : BITS[0];
}

function ulpsBetween(a: number, b: number, isFloat: boolean): number {
  if (!Number.isFinite(a) || !Number.isFinite(b)) return Number.POSITIVE_INFINITY;
  return isFloat ? Math.abs(rank(a) - rank(b)) : Math.abs(a - b);
}
