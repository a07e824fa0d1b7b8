/** The values at which implementations part: ties, zeros, saturation, thresholds, the ends of every range. */
import { type AnyOp, bind } from '../../op.ts';
import { ops } from '../../ops/index.ts';
import type { Case, Subject } from '../case.ts';
import { type Edge, extremeCall } from '../edges/edge.ts';
import { floatEdges } from '../edges/float.ts';
import { int4Edges } from '../edges/int4.ts';
import { integerEdges } from '../edges/integer.ts';
import { opCase } from '../judge/judge.ts';

const SIZES = { l: 5, n: 21, m: 21, d: 9, k: 4, i: 21, o: 7, v: 7 };

/** Of every op: values of all sizes, and no token at all. */
const ofEvery = (op: AnyOp): readonly Edge[] => {
  const sizes = {
    ...SIZES,
    ...(op.name === ops.fwht.name ? { n: 40 } : {}),
    ...(op.name === ops.slice.name ? { start: 3, size: 11 } : {}),
  };
  return [
    [op, 'extremes', 'zeros of both signs, denormals and large values', () => extremeCall(op, sizes)],
    [
      op,
      'empty-text',
      'no tokens give no rows, and a state that stays',
      () => extremeCall(op, { ...sizes, l: 0 }),
    ],
  ];
};

export const edgeCases = (subject: Subject): Case[] =>
  [...Object.values(ops).flatMap(ofEvery), ...integerEdges, ...int4Edges, ...floatEdges].map(
    ([op, what, says, make]) =>
      opCase(subject, op, { address: `op/${op.name}/edge/${what}`, says, quick: true }, () => {
        const { inputs, attrs } = make();
        return bind(op, inputs, attrs);
      }),
  );
