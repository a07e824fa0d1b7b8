/** A plan of one op, against the op: at the sizes of real models, on zeros of both signs, and over every exponent. */
import type { BoundCall } from '../../op.ts';
import { alone, opsBeside } from '../alone.ts';
import type { Case, Subject } from '../case.ts';
import { type Form, forms } from '../forms.ts';
import { ordinaryCall } from '../inputs.ts';
import { caseOf, judgeResults } from '../judge/judge.ts';
import { cut, fed, withExecutable } from '../plan.ts';
import { signsAndBinades } from './edge.ts';
import { widthsOf } from './width.ts';

export function aloneCases({ backend, profile, seed }: Subject): Case[] {
  const one = (form: Form, kind: string, says: string, quick: boolean, call: () => BoundCall): Case => {
    const about = {
      address: `alone/${form.name}/${kind}`,
      says: `a plan of this op alone, the first token by itself: ${says}`,
      quick,
      ops: [...new Set([form.name, ...opsBeside(form.op)])],
    };
    return caseOf(backend, about, () => {
      const { program, text, call: whole, read } = alone(form.op, call());
      const cuts = text.length > 1 ? [1, text.length - 1] : [1];
      return withExecutable(backend, program, executable =>
        judgeResults(profile, form.op, whole, read(fed(executable, cut(text, cuts)))),
      );
    });
  };
  return [
    ...forms.flatMap(form =>
      widthsOf(form).flatMap(([words, { choice, absent }]) =>
        (choice.s ?? 1) === 1
          ? one(form, `width/${words}`, 'at the sizes of real models', false, () =>
              ordinaryCall(form, choice, absent, seed),
            )
          : [],
      ),
    ),
    ...signsAndBinades().flatMap(({ form, what, says, call, scalesOfTokens }) =>
      scalesOfTokens ? [] : one(form, `edge/${what}`, says, true, call),
    ),
  ];
}
