/** The values on which implementations differ: ties, zeros, saturation, thresholds, the ends of every range. */
import { once } from '../../once.ts';
import { type AnyOp, type BoundCall, bind, formOf } from '../../op.ts';
import { ops } from '../../ops/index.ts';
import type { Case, Subject } from '../case.ts';
import { attentionBinades, attentionEdges } from '../edges/attention.ts';
import { binadeEdges } from '../edges/binades.ts';
import { type Edge, extremeCall, zerosCall } from '../edges/edge.ts';
import { floatEdges } from '../edges/float.ts';
import { integerEdges } from '../edges/integer.ts';
import { type Form, formNamed, forms } from '../forms.ts';
import { type Choice, optionalOf } from '../inputs.ts';
import { opCase } from '../judge/judge.ts';
import { ownSizes } from './small-calls.ts';

const SIZES = { l: 5, n: 21, m: 21, d: 9, k: 4, i: 21, o: 7, v: 7 };

/** The lengths of sums of zeros: with, in turns, and without what may be left out. The M_K of fwht has edges of its own. */
const SUMS = [1, 2, 3, 4, 5, 8];
const zerosOf = (form: Form, size: number): BoundCall => {
  const letters = { l: 24, n: size, m: size, d: 17, k: Math.min(size, 5), i: size, o: 17, v: 9 };
  const own: Record<string, Choice> = {
    [ops.slice.name]: { n: 9, start: size - 1, size: 1 },
    [ops.ssdScan.name]: { h: 4, p: 5, g: 2, n: 4 * size },
    [ops.gatedRmsNorm.name]: { d: 3 * size, g: 3 },
    [ops.attention.name]: { h: 4, g: 2, p: 4 * size, t: size },
    [ops.rope.name]: { h: 3, p: 2 * size + 1, r: size },
    [ops.ropeTable.name]: { r: size, sine: size % 2 === 0 },
  };
  const states = Object.keys(form.op.states);
  const absent = size % 2 ? [] : optionalOf(form.op).filter(key => !states.includes(key));
  return zerosCall(form, { ...letters, ...own[form.op.name] }, absent, size);
};

/** A call on an edge: its form, its name, what it shows, and how it is made. */
interface EdgeCall {
  readonly form: Form;
  readonly what: string;
  readonly says: string;
  readonly call: () => BoundCall;
  /** It has a scale for each token. */
  readonly scalesOfTokens?: boolean | undefined;
}

const functions: readonly AnyOp[] = [ops.softplus, ops.silu, ops.negExp];
const ofFunctions = floatEdges.filter(([op]) => functions.includes(op));

/** Zeros of both signs, and every exponent: what a plan is judged on, too. */
export const signsAndBinades = once((): readonly EdgeCall[] => [
  ...forms.flatMap(form =>
    SUMS.filter(size => form.op !== ops.fwht || size % 2 === 0 || size === 1).map(size => ({
      form,
      what: `zeros=${size}`,
      says: 'hardly anything but zeros of both signs: what sums begin with, and what is added to nothing',
      call: () => zerosOf(form, size),
    })),
  ),
  ...[...binadeEdges, ...attentionBinades, ...ofFunctions].map(callOfEdge),
]);

function callOfEdge([op, what, says, inputs, { attrs, kept, scalesOfTokens } = {}]: Edge): EdgeCall {
  const form = formNamed(formOf(op, kept))!;
  return { form, what, says, call: () => bind(op, inputs(), attrs, kept), scalesOfTokens };
}

export function edgeCases(subject: Subject): Case[] {
  const edgeOf = ({ form, what, says, call }: EdgeCall): Case =>
    opCase(subject, form, { address: `op/${form.name}/edge/${what}`, says, quick: true }, call);
  return [
    ...forms.flatMap(form => {
      const extremes = (more: { readonly l?: number } = {}) =>
        extremeCall(form, { ...SIZES, ...ownSizes[form.op.name]?.[0], ...more });
      return [
        {
          form,
          what: 'extremes',
          says: 'zeros of both signs, denormals and large values',
          call: () => extremes(),
        },
        {
          form,
          what: 'empty-text',
          says: 'no tokens give no rows, and a state that stays',
          call: () => extremes({ l: 0 }),
        },
      ].map(edgeOf);
    }),
    ...[...integerEdges, ...floatEdges.filter(one => !ofFunctions.includes(one)), ...attentionEdges]
      .map(callOfEdge)
      .map(edgeOf),
    ...signsAndBinades().map(edgeOf),
  ];
}
