/** What cuda/include/quamba.h says, in the words of this side. A test compares the two. */
import type { AnyOp } from '../../op.ts';
import { parse } from '../../signature.ts';
import type { DType } from '../../tensor.ts';

export const ABI = 3;

export const STATUS = {
  OK: 0,
  NO_DRIVER: 1,
  NO_DEVICE: 2,
  WRONG_DEVICE: 3,
  UNKNOWN_OP: 4,
  WRONG_CALL: 5,
  BAD_VALUE: 6,
  OUT_OF_MEMORY: 7,
  CUDA_ERROR: 8,
} as const;

export const DTYPES: Readonly<Record<DType, number>> = { f32: 0, i8: 1, i32: 2 };

export const MAX_RANK = 4;

/**
 * exact  the plan as it is, with the reference's bits
 * f16    a float plan in f16 with f32 sums: what W8A8 is measured against, and not the reference's bits
 */
export const PRECISIONS = { exact: 0, f16: 1 } as const;
export type Precision = keyof typeof PRECISIONS;

/**
 * How one token of one sequence runs. One token of each of several runs as a graph, unless the choice is `nodes`.
 *
 * best        the fastest of the others that the plan and the GPU allow
 * nodes       a launch for each node of the plan
 * graph       the launches as one CUDA graph
 * persistent  one cooperative kernel
 */
export const DECODES = { best: 0, nodes: 1, graph: 2, persistent: 3 } as const;
export type Decode = keyof typeof DECODES;

export const LOGITS = { all: 0, last: 1 } as const;

/**
 * An op as the library lists it: `rms-norm(x f32[l, m], w f32[m]?; eps) -> y f32[l, m]`; states stand before the attributes, and
 * have types.
 */
export function signatureOf(op: AnyOp): string {
  const list = (signatures: Readonly<Record<string, string>>) =>
    Object.entries(signatures)
      .map(([key, signature]) => {
        const { text, optional } = parse(signature);
        return `${key} ${text}${optional ? '?' : ''}`;
      })
      .join(', ');
  const parts = [list(op.inputs), list(op.states), Object.keys(op.attrs).join(', ')];
  return `${op.name}(${parts.filter(part => part !== '').join('; ')}) -> ${list(op.outputs)}`;
}
