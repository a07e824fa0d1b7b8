/**
 * The conformance suite: whether a backend computes Quamba, op by op and whole.
 *
 *   for (const c of conformance(backend, { goldens, models })) test(c.address, () => c.run());
 *
 * Every expected value is the reference's, made when a case runs. The suite touches no file: goldens and models are given
 * to it (the command line reads those that come with the package).
 */
import type { Backend } from '../backends/backend.ts';
import type { Program } from '../graph.ts';
import type { Attrs, KeptStates } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import type { Case, Profile } from './cases/case.ts';
import { determinismCases } from './cases/determinism.ts';
import { edgeCases } from './cases/edge.ts';
import { fusedCases } from './cases/fused.ts';
import { gateCases } from './cases/gate.ts';
import { goldenCases } from './cases/golden.ts';
import { hygieneCases } from './cases/hygiene.ts';
import { planCases } from './cases/plan.ts';
import { stateCases } from './cases/state.ts';
import { sweepCases } from './cases/sweep.ts';

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

/** All cases. None of them has run, and none has made its values yet. */
export function conformance(backend: Backend, options: ConformanceOptions = {}): readonly Case[] {
  const subject: Subject = {
    backend,
    profile: 'exact',
    goldens: [],
    models: [],
    seed: 1,
    threads: [],
    ...options,
  };
  return [
    ...goldenCases(subject),
    ...sweepCases(subject),
    ...edgeCases(subject),
    ...fusedCases(subject),
    ...planCases(subject),
    ...stateCases(subject),
    ...determinismCases(subject),
    ...hygieneCases(subject),
    ...gateCases(subject),
  ];
}
