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
 * exact     the bits of the reference
 * tolerant  integers exact, codes of a quantize at most one step away on a bounded share, floats within a bound that follows
 *           from the work: length of sums, number of exps
 */
export type Profile = 'exact' | 'tolerant';

/** Only `pass` is a pass: what was not tried shows nothing. */
export const OUTCOMES = ['pass', 'fail', 'unsupported', 'skipped', 'error'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface Case {
  /** Stable from version to version: `op/selective-scan/golden/large-dt`. Lower case, parts joined by slashes. */
  readonly address: string;
  /** What it shows, in one sentence. */
  readonly says: string;
  /** The names of the ops that the backend needs for it. */
  readonly ops: readonly string[];
  /** Whether it belongs to the quick run. */
  readonly quick: boolean;
  /** Never throws: a backend that does has the outcome `error`. */
  run(): Verdict;
  /** What a case of one op is made of, for those who replay it elsewhere. */
  readonly vectors?: () => Vectors;
}

export interface Verdict {
  readonly outcome: Outcome;
  /** Of anything but a pass, in one sentence. */
  readonly reason?: string;
  /** Of a fail on values: the first that is wrong. */
  readonly mismatch?: Mismatch;
  /** How near it was, also where it passed: the largest error in units of its bound, 0 where all bits are equal. */
  readonly worst?: number;
  readonly milliseconds: number;
}

export interface Mismatch {
  /** The output's name, and its shape. */
  readonly tensor: string;
  readonly shape: readonly number[];
  /** Of the first element that is wrong. */
  readonly index: readonly number[];
  readonly expected: number;
  readonly got: number;
  /** Representable f32 from the one to the other, Infinity where one is not finite. Of integers, their distance. */
  readonly ulp: number;
  /** How far it may be off. 0 in the exact profile. */
  readonly bound: number;
  /** How the bound follows from the work. */
  readonly formula: string;
  /** How many elements are wrong, of how many. */
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
  /** In the terms of the op: `2 (i + 2) u Σ|x w|`, with u = 2⁻²⁴. */
  readonly formula: string;
  /** For each element the most that it may be off by; `steps` of a quantized output in its place. */
  readonly bounds: Float64Array;
  /** The most that the mean of the signed errors may be, in the output's unit. */
  readonly bias: number;
  /** Of an integer output: the most share of its elements that may differ at all. 0: exact. */
  readonly share?: number;
}

/** A stored call of an op. Reading is put off until a case runs. */
export interface Golden {
  /** The op, and how its states are kept: `selective-scan/f16`. */
  readonly form: string;
  readonly name: string;
  /** What the case is there for. */
  readonly says: string;
  readonly read: () => {
    readonly inputs: Readonly<Record<string, Tensor>>;
    readonly attrs: Attrs;
    readonly kept?: KeptStates;
  };
}
export type Goldens = readonly Golden[];

/** A real model under one recipe. All of it is made when a case runs. */
export interface ModelUnderTest {
  /** Part of the address: `embedded`. */
  readonly name: string;
  /** By its name in the table of recipes. */
  readonly recipe: string;
  /** The float program, and the fused plan that the recipe makes of it. */
  readonly float: () => Program;
  readonly plan: () => Program;
  /** The ops of the plan, by name. */
  readonly ops: readonly string[];
  /** A text that calibration has not seen. */
  readonly text: () => Int32Array;
}

export interface ConformanceOptions {
  /** `exact` by default. */
  readonly profile?: Profile;
  /** None by default: then the suite has no cases of stored calls. */
  readonly goldens?: Goldens;
  readonly models?: readonly ModelUnderTest[];
  /** Of the values in sweeps. The sizes do not depend on it. */
  readonly seed?: number;
  /** The thread counts over which a plan must give the same bits. */
  readonly threads?: readonly number[];
}

/** What every family of cases is given. */
export type Subject = Required<ConformanceOptions> & { readonly backend: Backend };
