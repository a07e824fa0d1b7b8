/** Runs a case and makes its verdict. */
import { type Backend, isUnsupported, Unsupported } from '../../backends/backend.ts';
import { type AnyOp, type BoundCall, formOf, resultsOf } from '../../op.ts';
import type { AnyKernel } from '../../run.ts';
import { stateView } from '../../state.ts';
import type { Case, Mismatch, Profile, Vectors, Verdict } from '../case.ts';
import { type Form, formNamed, keptAll } from '../forms.ts';
import { copied, each, type Tensors } from '../named.ts';
import { tolerances } from './bounds.ts';
import { compare } from './compare.ts';

/** Thrown where a case cannot apply. */
export class Skipped extends Error {}

/** What a judgement found. Without a mismatch the case passes. */
export interface Finding {
  readonly mismatch?: Mismatch | undefined;
  readonly worst?: number;
  /** A sentence to show in place of the usual one about the mismatch. */
  readonly reason?: string;
}

/** A case that runs `judge` if the backend has every op that it needs. */
export function caseOf(backend: Backend, about: Omit<Case, 'run'>, judge: () => Finding): Case {
  return {
    ...about,
    run() {
      const begin = performance.now();
      const verdict = verdictOf(backend, about.ops, judge);
      return { ...verdict, milliseconds: performance.now() - begin };
    },
  };
}

/** A case that cannot apply, and why. */
export const skippedCase = (backend: Backend, about: Omit<Case, 'run'>, reason: string): Case =>
  caseOf(backend, about, () => {
    throw new Skipped(reason);
  });

type Untimed = Omit<Verdict, 'milliseconds'>;
function verdictOf(backend: Backend, needed: readonly string[], judge: () => Finding): Untimed {
  try {
    const missing = needed.filter(name => {
      const { op, dtype } = formNamed(name)!;
      return !backend.kernelOf(op, keptAll(op, { dtype }));
    });
    const reason = `backend ${backend.name} has no kernel for ${missing.join(', ')}`;
    if (missing.length > 0) return { outcome: 'unsupported', reason };
    const { mismatch, worst, reason: other } = judge();
    if (!mismatch) return { outcome: 'pass', worst };
    return { outcome: 'fail', reason: other ?? sentence(mismatch), mismatch, worst };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof Skipped) return { outcome: 'skipped', reason };
    if (isUnsupported(error)) return { outcome: 'unsupported', reason };
    return { outcome: 'error', reason };
  }
}

const sentence = ({ tensor, index, expected, got, wrong, of }: Mismatch): string =>
  `${tensor}[${index.join(', ')}] is ${got}, expected ${expected}; ${wrong} of ${of} values are wrong`;

/** The first wrong finding; else the one with the largest error in units of its bound. */
export function worstOf(findings: Iterable<Finding>): Finding {
  let worst: Finding = {};
  for (const finding of findings) {
    if (finding.mismatch) return finding;
    if ((finding.worst ?? 0) >= (worst.worst ?? 0)) worst = finding;
  }
  return worst;
}

/** What outputs hold before a kernel writes them. */
const UNWRITTEN = { f32: Number.NaN, i8: 0x55, i32: 0x55555555 } as const;

/** A copy of a call, which a kernel may do anything with. Its outputs hold values that no kernel computes. */
export const freshCall = ({ inputs, outputs, states, attrs, dims }: BoundCall): BoundCall => {
  const unwritten = copied(outputs);
  for (const { data, dtype } of Object.values(unwritten)) data.fill(UNWRITTEN[dtype]);
  const own = each(states, view => stateView(view, view.shape, view.data.slice()));
  return { inputs: copied(inputs), outputs: unwritten, states: own, attrs, dims };
};

/** Calls a kernel. */
export const invoke = (kernel: AnyKernel, { inputs, attrs, outputs, dims, states }: BoundCall): void =>
  kernel(inputs, attrs, outputs, dims, states);

/** Runs a kernel on a copy of the call, and returns the copy. */
export function called(backend: Backend, op: AnyOp, call: BoundCall): BoundCall {
  const fresh = freshCall(call);
  const kernel = backend.kernelOf(op, call.states);
  if (!kernel) throw new Unsupported(`backend ${backend.name} has no kernel for ${formOf(op, call.states)}`);
  invoke(kernel, fresh);
  return fresh;
}

/** The reference's results for a call, which does not change. */
export function expectedOf(op: AnyOp, call: BoundCall): Tensors {
  const fresh = freshCall(call);
  invoke(op.reference, fresh);
  return resultsOf(fresh);
}

function vectorsOf(op: AnyOp, call: BoundCall): Vectors {
  const expected = expectedOf(op, call);
  return { op: op.name, call, expected, tolerances: tolerances(op, call, expected) };
}

/** Compares the backend with the reference on a call. */
export const judgeCall = (backend: Backend, profile: Profile, op: AnyOp, call: BoundCall): Finding =>
  judgeResults(profile, op, call, resultsOf(called(backend, op, call)));

/** Compares results of a call with the reference's. The exact profile needs no tolerances. */
export function judgeResults(profile: Profile, op: AnyOp, call: BoundCall, got: Tensors): Finding {
  const expected = expectedOf(op, call);
  return compare(expected, got, profile, profile === 'exact' ? {} : tolerances(op, call, expected));
}

/** A case of one op in one form: the backend's kernel against the reference, on a call that is made when it is needed. */
export const opCase = (
  { backend, profile }: { readonly backend: Backend; readonly profile: Profile },
  { op, name }: Form,
  about: Pick<Case, 'address' | 'says' | 'quick'>,
  call: () => BoundCall,
): Case =>
  caseOf(backend, { ...about, ops: [name], call, vectors: () => vectorsOf(op, call()) }, () =>
    judgeCall(backend, profile, op, call()),
  );
