/** The values on which implementations differ: ties, zeros, saturation, thresholds, the ends of every range. */
import { type BoundCall, bind, formOf } from '../../op.ts';
import { ops } from '../../ops/index.ts';
import type { Case, Subject } from '../case.ts';
import { extremeCall } from '../edges/edge.ts';
import { floatEdges } from '../edges/float.ts';
import { integerEdges } from '../edges/integer.ts';
import { type Form, formNamed, forms } from '../forms.ts';
import { opCase } from '../judge/judge.ts';

const SIZES = { l: 5, n: 21, m: 21, d: 9, k: 4, i: 21, o: 7, v: 7 };
/** The sizes of ops that do not allow every size. */
const OWN: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  [ops.fwht.name]: { n: 40 },
  [ops.slice.name]: { start: 3, size: 11 },
};

export function edgeCases(subject: Subject): Case[] {
  const edgeOf = (form: Form, what: string, says: string, call: () => BoundCall): Case =>
    opCase(subject, form, { address: `op/${form.name}/edge/${what}`, says, quick: true }, call);
  return [
    ...forms.flatMap(form => {
      const extremes = (more: { readonly l?: number } = {}) =>
        extremeCall(form, { ...SIZES, ...OWN[form.op.name], ...more });
      return [
        edgeOf(form, 'extremes', 'zeros of both signs, denormals and large values', () => extremes()),
        edgeOf(form, 'empty-text', 'no tokens give no rows, and a state that stays', () =>
          extremes({ l: 0 }),
        ),
      ];
    }),
    ...[...integerEdges, ...floatEdges].map(([op, what, says, inputs, { attrs, kept } = {}]) =>
      edgeOf(formNamed(formOf(op, kept))!, what, says, () => bind(op, inputs(), attrs, kept)),
    ),
  ];
}
