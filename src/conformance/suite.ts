/**
 * The conformance suite: whether a backend computes Quamba, op by op and whole.
 *
 *   for (const c of conformance(backend, { goldens, models })) test(c.address, () => c.run());
 *
 * Every expected value is the reference's, made when a case runs. The suite touches no file: goldens and models are given
 * to it (the command line reads those that come with the package).
 */
import type { Backend } from '../backends/backend.ts';
import type { Case, ConformanceOptions, Subject } from './case.ts';
import { determinismCases } from './cases/determinism.ts';
import { edgeCases } from './cases/edge.ts';
import { fusedCases } from './cases/fused.ts';
import { gateCases } from './cases/gate.ts';
import { goldenCases } from './cases/golden.ts';
import { hygieneCases } from './cases/hygiene.ts';
import { planCases } from './cases/plan.ts';
import { stateCases } from './cases/state.ts';
import { sweepCases } from './cases/sweep.ts';

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
