/**
 * How far a tolerant backend may be off from the reference, derived from the work that an op does.
 *
 * A sum of i products is off by at most (i + …) u Σ|x w| in any order. Backend and reference may both be off by that, hence the
 * factor 2 in many bounds. Copies and integers are exact. So is what rounds once, since every machine rounds products and sums
 * correctly. docs/bounds.md derives each bound; doubt.ts has u, τ and the bound of the mean.
 */
import { type AnyOp, type BoundCall, givenOf } from '../../op.ts';
import type { Tensor } from '../../tensor.ts';
import type { Tolerance, Vectors } from '../case.ts';
import { each, type Tensors } from '../named.ts';
import { attentionBounds } from './bounds-attention.ts';
import { stateBounds } from './bounds-states.ts';
import { sumBounds } from './bounds-sums.ts';
import { valueBounds } from './bounds-values.ts';
import type { Bounds } from './doubt.ts';

const BOUNDS: Readonly<Record<string, Bounds>> = {
  ...valueBounds,
  ...sumBounds,
  ...stateBounds,
  attention: attentionBounds,
};

/** How far each output of a call may be off. `expected` is the reference's output. */
export function tolerances(op: AnyOp, call: BoundCall, expected: Tensors): Vectors['tolerances'] {
  const inputs = each(givenOf(call), ({ data }) => data);
  return BOUNDS[op.name](inputs, call, expected);
}

/**
 * The tolerance of codes behind inexact work (a fused op, a plan). A value next to a midpoint may be rounded to either side, so that
 * its code is one step off. That is rare, since the error of the work is a small part of a step.
 */
export const requantized = (expected: Tensor): Tolerance => ({
  formula: `one step on at most ${100 * SHARE} % of the codes`,
  bounds: new Float64Array(expected.data.length).fill(1),
  bias: SHARE,
  share: SHARE,
});
const SHARE = 0.01;
