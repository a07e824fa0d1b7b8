/**
 * Bounds of errors: how far one value may be off, and how far the mean of many values.
 *
 *   u = 2⁻²⁴    the most that one rounding to f32 is off, relative to its result
 *   τ = 2⁻¹²⁶   the least normal f32; a backend may flush smaller values to 0
 */
import type { BoundCall } from '../../op.ts';
import type { Data, Tensor } from '../../tensor.ts';
import type { Tolerance, Vectors } from '../case.ts';
import type { Tensors } from '../named.ts';

export const U = 2 ** -24;
export const TINY = 2 ** -126;

/** How far one value may be off. */
export interface Doubt {
  /** The most that it may be off. */
  readonly most: number;
  /** The variance of what differs from value to value. A rounding of x errs uniformly in ± u x: its variance is (u x)² / 3. */
  readonly variance: number;
  /** How far all values together may be off in one direction. */
  readonly shared: number;
}

export const NONE: Doubt = { most: 0, variance: 0, shared: 0 };

/** `count` roundings of values up to `size`, independent from value to value. */
export const roundings = (count: number, size: number): Doubt => ({
  most: count * U * size,
  variance: (count * (U * size) ** 2) / 3,
  shared: 0,
});

/** `count` roundings that are the same for all values: of a scale that they share, or of an exp, whose polynomial errs to one side. */
export const alike = (count: number, size: number): Doubt => ({
  most: count * U * size,
  variance: 0,
  shared: Math.sqrt(count) * U * size,
});

/** A value that may be lost completely. */
export const allOf = (size: number): Doubt => ({ most: size, variance: 0, shared: size });

/** `count` values, each of which may have been flushed to 0. */
export const flushed = (count: number): Doubt => allOf(count * TINY);

export function sum(...doubts: readonly Doubt[]): Doubt {
  let [most, variance, shared] = [0, 0, 0];
  for (const doubt of doubts) {
    most += doubt.most;
    variance += doubt.variance;
    shared += doubt.shared;
  }
  return { most, variance, shared };
}

export const times = ({ most, variance, shared }: Doubt, factor: number): Doubt => ({
  most: most * factor,
  variance: variance * factor ** 2,
  shared: shared * factor,
});

/** |x|, where an overflow counts as 2¹²⁸. */
export const magnitude = (x: number): number => Math.min(Math.abs(x), 2 ** 128);

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
export const siluSlope = (x: number): number => sigmoid(x) * (1 + x * sigmoid(-x));

/** An exp of 2 ulp in backend and reference, 1 + e⁻ˣ and a division. Where e⁻ˣ overflows, less than |x| τ is lost. */
export const siluDoubt = (x: number): Doubt => {
  const y = magnitude(x * sigmoid(x));
  return sum(roundings(8, y), alike(4, y), flushed(1 + Math.abs(x)));
};

/** The tolerances of a call of one op. `expected` is the reference's output. */
export type Bounds = (
  inputs: Readonly<Record<string, Data>>,
  call: BoundCall,
  expected: Tensors,
) => Vectors['tolerances'];

/**
 * The tolerance of an output whose element i has the doubt `at(i)`. Its bias is what all elements share, plus four standard
 * deviations of the rest: of correct outputs with the largest errors allowed, one in 16,000 would exceed it.
 */
export function tolerance(formula: string, { data }: Tensor, at: (i: number) => Doubt): Tolerance {
  const bounds = new Float64Array(data.length);
  let total = NONE;
  for (let i = 0; i < data.length; i++) {
    const doubt = at(i);
    if (!Number.isFinite(doubt.most + doubt.variance)) continue; // at a limit, such as silu(−∞), there is no error
    bounds[i] = doubt.most;
    total = sum(total, doubt);
  }
  const size = Math.max(data.length, 1);
  const distinct = Math.max(new Set<number>(data).size, 1); // equal inputs have equal errors
  const scatter = 4 * Math.sqrt(total.variance / size / distinct);
  return {
    formula: `${formula}; the mean within 4 σ/√n`,
    bounds,
    bias: Math.min(scatter + total.shared / size, total.most / size),
  };
}
