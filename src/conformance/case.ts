/**
 * What the conformance suite is made of: cases as values, so that any runner can host them.
 *
 *   for (const c of conformance(backend, { goldens })) test(c.address, () => c.run());
 */
import type { Backend } from '../backends/backend.ts';
import type { Program } from '../graph.ts';
import type { Attrs, BoundCall, KeptStates } from '../op.ts';
import type { Tensor } from '../tensor.ts';

/**
 * exact     every value has the bits of the reference
 * tolerant  integers are exact; codes behind inexact work may be one step off, on a small share of the elements; floats are within
 *           a bound that is derived from the work of the op (the length of its sums, the number of its exps)
 */
export type Profile = 'exact' | 'tolerant';

/** Only `pass` is a pass. A case that was not tried shows nothing. */
export const OUTCOMES = ['pass', 'fail', 'unsupported', 'skipped', 'error'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Case {
  /** The same in every version, such as `op/selective-scan/golden/large-dt`: lower case, the parts joined by slashes. */
  readonly address: string;
  /** What the case shows, in one sentence. */
  readonly says: string;
  /** The names of the ops that the backend must have. */
  readonly ops: readonly string[];
  /** Whether the case is part of the quick run. */
  readonly quick: boolean;
  /** Never throws. If the backend throws, the outcome is `error`. */
  run(): Verdict;
  /** The call of a case of one op. */
  readonly call?: () => BoundCall;
  /** The same with the expected values and the tolerances, so that it can be replayed elsewhere. */
  readonly vectors?: () => Vectors;
}

export interface Verdict {
  readonly outcome: Outcome;
  /** Why it is no pass, in one sentence. */
  readonly reason?: string;
  /** The first wrong value, where values are wrong. */
  readonly mismatch?: Mismatch;
  /** The largest error in units of its bound, also where the case passed. 0 means that all bits are equal. */
  readonly worst?: number;
  readonly milliseconds: number;
}

export interface Mismatch {
  /** The output's name, and its shape. */
  readonly tensor: string;
  readonly shape: readonly number[];
  /** Where the first wrong element is. */
  readonly index: readonly number[];
  readonly expected: number;
  readonly got: number;
  /** How many f32 values lie between the two; Infinity where one is not finite. For integers, their difference. */
  readonly ulp: number;
  /** How far the element may be off. 0 in the exact profile. */
  readonly bound: number;
  /** How the bound follows from the work. */
  readonly formula: string;
  /** How many elements are wrong, and how many there are. */
  readonly wrong: number;
  readonly of: number;
}

/** A call of one op, what the reference gives for it, and how far a tolerant backend may be off. */
export interface Vectors {
  readonly op: string;
  readonly call: BoundCall;
  readonly expected: Readonly<Record<string, Tensor>>;
  readonly tolerances: Readonly<Record<string, Tolerance>>;
}

/** How far an output may be off in the tolerant profile. */
export interface Tolerance {
  /** The bound in the terms of the op, such as `2 (i + 2) u Σ|x w|`, where u = 2⁻²⁴. */
  readonly formula: string;
  /** The most that each element may be off; for a quantized output, in steps. */
  readonly bounds: Float64Array;
  /** The largest mean of the signed errors that is allowed, in the unit of the output. */
  readonly bias: number;
  /** For an integer output: the largest share of its elements that may differ at all. */
  readonly share?: number;
}

/** A stored call of an op. It is read when its case runs. */
export interface Golden {
  /** The op, and how its states are kept: `selective-scan/f16`. */
  readonly form: string;
  readonly name: string;
  /** Which mistake the call is there to find. */
  readonly says: string;
  readonly read: () => {
    readonly inputs: Readonly<Record<string, Tensor>>;
    readonly attrs: Attrs;
    readonly kept?: KeptStates;
  };
}
export type Goldens = readonly Golden[];

/** A real model under one recipe. Nothing of it is read or computed before a case runs. */
export interface ModelUnderTest {
  /** Its name in addresses, such as `embedded`. */
  readonly name: string;
  /** The name of the recipe in the table of recipes. */
  readonly recipe: string;
  /** The float program, and the fused plan that the recipe makes of it. */
  readonly float: () => Program;
  readonly plan: () => Program;
  /** The names of the ops of the plan. */
  readonly ops: readonly string[];
  /** A text that calibration has not seen. */
  readonly text: () => Int32Array;
}

export interface ConformanceOptions {
  /** Default: `exact`. */
  readonly profile?: Profile;
  /** Default: none, and then the suite has no cases of stored calls. */
  readonly goldens?: Goldens;
  readonly models?: readonly ModelUnderTest[];
  /** The seed of the values in sweeps. The sizes do not depend on it. */
  readonly seed?: number;
  /** Numbers of threads with which a plan must give the same bits. */
  readonly threads?: readonly number[];
}

/** What each family of cases receives. */
export type Subject = Required<ConformanceOptions> & { readonly backend: Backend };
