/** Every fused op, as a program with one fused node, is compared with the ops that it replaces. */
import type { Program } from '../../graph.ts';
import { once } from '../../once.ts';
import { formsOf } from '../../run.ts';
import { tensor } from '../../tensor.ts';
import type { Case, Profile, Subject } from '../case.ts';
import { requantized } from '../judge/bounds.ts';
import { compare } from '../judge/compare.ts';
import { caseOf, type Finding, worstOf } from '../judge/judge.ts';
import type { Tensors } from '../named.ts';
import { expectedFrom, fed, judgeNear, withExecutable } from '../plan.ts';
import { programsOf, VOCABULARY } from './fused-parts.ts';
import { fusedPrograms } from './fused-programs.ts';

const LENGTHS = [1, 17, 130];
const textOf = (length: number) => Int32Array.from({ length }, (_, i) => (i * 5 + (i >> 3)) % VOCABULARY);

function judge(profile: Profile, program: Program, isCodes: boolean, length: number, got: Tensors): Finding {
  const expected = expectedFrom(program, textOf(length));
  if (profile === 'exact') return compare(expected, got, 'exact');
  const asCodes = ({ logits }: Tensors) => ({ logits: tensor(Int8Array.from(logits.data), logits.shape) });
  const { logits, ...states } = expected;
  return worstOf([
    isCodes
      ? compare(asCodes(expected), asCodes(got), profile, { logits: requantized(logits) })
      : judgeNear('logits', logits, got.logits, program, length),
    ...Object.keys(states).map(ref => judgeNear(ref, states[ref], got[ref], program, length)),
  ]);
}

/** Each is written once, so that what the reference gives for it is computed once for all backends. */
const written = fusedPrograms.map(under => ({ under, programs: once(() => programsOf(under)) }));

export const fusedCases = ({ backend, profile }: Subject): Case[] =>
  written.map(({ under, programs }) => {
    const { lengths = LENGTHS, quick = true } = under;
    const about = {
      address: `fused/${under.name}/${under.what}`,
      says: `the fused op gives what its ops give one by one, over ${lengths.join(', ')} tokens`,
      quick,
      ops: [...formsOf(programs()[0].program).keys()],
    };
    const judged = ({ program, isCodes }: ReturnType<typeof programs>[number]): readonly Finding[] =>
      withExecutable(backend, program, executable =>
        lengths.map(length => judge(profile, program, isCodes, length, fed(executable, [textOf(length)]))),
      );
    return caseOf(backend, about, () => worstOf(programs().flatMap(judged)));
  });
