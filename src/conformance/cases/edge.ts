/** The values on which implementations differ: ties, zeros, saturation, thresholds, the ends of every range. */
import { bind } from '../../op.ts';
import { ops } from '../../ops/index.ts';
import type { Case, Subject } from '../case.ts';
import { type Edge, extremeCall } from '../edges/edge.ts';
import { floatEdges } from '../edges/float.ts';
import { int4Edges } from '../edges/int4.ts';
import { integerEdges } from '../edges/integer.ts';
import { type Form, forms } from '../forms.ts';
import { opCase } from '../judge/judge.ts';

const SIZES = { l: 5, n: 21, m: 21, d: 9, k: 4, i: 21, o: 7, v: 7 };

/** The edges of every op: values of all magnitudes, and a text without tokens. */
const ofEvery = (form: Form): readonly (readonly [Form, Edge])[] => {
  const { op } = form;
  const sizes = {
    ...SIZES,
    ...(op.name === ops.fwht.name ? { n: 40 } : {}),
    ...(op.name === ops.slice.name ? { start: 3, size: 11 } : {}),
  };
  return [
    [
      form,
      [op, 'extremes', 'zeros of both signs, denormals and large values', () => extremeCall(form, sizes)],
    ],
    [
      form,
      [
        op,
        'empty-text',
        'no tokens give no rows, and a state that stays',
        () => extremeCall(form, { ...sizes, l: 0 }),
      ],
    ],
  ];
};

export const edgeCases = (subject: Subject): Case[] =>
  [...forms.flatMap(ofEvery), ...[...integerEdges, ...int4Edges, ...floatEdges].map(inItsForm)].map(
    ([form, [op, what, says, make]]) =>
      opCase(subject, form, { address: `op/${form.name}/edge/${what}`, says, quick: true }, () => {
        const { inputs, attrs, kept } = make();
        return bind(op, inputs, attrs, kept);
      }),
  );

const inItsForm = (edge: Edge): readonly [Form, Edge] => {
  const [op, , , , dtype = 'f32'] = edge;
  return [forms.find(form => form.op === op && form.dtype === dtype)!, edge];
};
