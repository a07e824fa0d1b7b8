/** A few small calls of each op, for the cases of determinism and hygiene. */
import type { BoundCall } from '../../op.ts';
import { ops } from '../../ops/index.ts';
import type { Form } from '../forms.ts';
import { type Choice, optionalOf, ordinaryCall } from '../inputs.ts';

const SIZES: readonly Choice[] = [
  { l: 5, n: 19, m: 19, d: 7, k: 4, i: 19, o: 5, v: 6 },
  { l: 1, n: 3, m: 3, d: 2, k: 2, i: 3, o: 2, v: 2 },
  { l: 18, n: 34, m: 34, d: 17, k: 3, i: 34, o: 18, v: 9 },
];
/** The sizes of ops that do not allow every size. */
export const ownSizes: Readonly<Record<string, readonly Choice[]>> = {
  [ops.fwht.name]: [40, 4, 24].map(n => ({ n })),
  [ops.slice.name]: [
    { start: 3, size: 11 },
    { start: 1, size: 2 },
    { start: 0, size: 34 },
  ],
  [ops.selectiveScan.name]: [21, 1, 16].map(n => ({ n })),
  [ops.ssdScan.name]: [
    { h: 6, p: 5, g: 2, n: 12 },
    { h: 1, p: 1, g: 1, n: 4 },
    { h: 4, p: 17, g: 4, n: 8 },
  ],
  [ops.gatedRmsNorm.name]: [
    { d: 15, g: 3 },
    { d: 2, g: 1 },
    { d: 70, g: 2 },
  ],
  // the first grows over the end of a block, whether it is called with 5 tokens or with 23
  [ops.attention.name]: [
    { h: 6, g: 2, p: 8, t: 126, scale: 0.3 },
    { h: 1, g: 1, p: 4, t: 0, scale: 1 },
    { h: 4, g: 4, p: 12, t: 3, scale: 0.3 },
  ],
  [ops.rope.name]: [
    { h: 3, p: 14, r: 5 },
    { h: 1, p: 2, r: 1 },
    { h: 2, p: 8, r: 4 },
  ],
  [ops.ropeTable.name]: [{ r: 19 }, { r: 1 }, { r: 34, sine: true }],
};

/** Calls of three sizes. The second call leaves out all that may be left out. */
export const callsOf = (form: Pick<Form, 'op' | 'dtype'>): readonly BoundCall[] =>
  SIZES.map((sizes, i) => {
    const absent = i === 1 ? optionalOf(form.op) : [];
    return ordinaryCall(form, { ...sizes, ...ownSizes[form.op.name]?.[i] }, absent, i + 1);
  });
