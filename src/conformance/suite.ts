/**
 * The conformance suite judges whether a backend computes Quamba: each op alone, and whole models.
 *
 *   for (const c of conformance(backend, { goldens, models })) test(c.address, () => c.run());
 *
 * Every expected value comes from the reference, which computes it when a case runs. The suite reads no file: the caller passes goldens
 * and models (the command line passes those that come with the package).
 */
import type { Backend } from '../backends/backend.ts';
import type { Case, ConformanceOptions, Subject } from './case.ts';
import { aloneCases } from './cases/alone.ts';
import { determinismCases } from './cases/determinism.ts';
import { edgeCases } from './cases/edge.ts';
import { fusedCases } from './cases/fused.ts';
import { gateCases } from './cases/gate.ts';
import { goldenCases } from './cases/golden.ts';
import { hygieneCases } from './cases/hygiene.ts';
import { planCases } from './cases/plan.ts';
import { stateCases } from './cases/state.ts';
import { sweepCases } from './cases/sweep.ts';
import { widthCases } from './cases/width.ts';

/** All cases. None has run yet, and none has made its values. */
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
    ...widthCases(subject),
    ...edgeCases(subject),
    ...aloneCases(subject),
    ...fusedCases(subject),
    ...planCases(subject),
    ...stateCases(subject),
    ...determinismCases(subject),
    ...hygieneCases(subject),
    ...gateCases(subject),
  ];
}
