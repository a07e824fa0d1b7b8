/** Every op at many sizes: those of its own sweep, and sizes next to the usual tile sizes of kernels. */
import { once } from '../../once.ts';
import { type AnyOp, violated } from '../../op.ts';
import { ops } from '../../ops/index.ts';
import { random } from '../../text/random.ts';
import type { Case, Subject } from '../case.ts';
import { forms } from '../forms.ts';
import { type Choice, optionalOf, ordinaryCall, sizesOf } from '../inputs.ts';
import { opCase } from '../judge/judge.ts';

export type Sizes = Readonly<Record<string, readonly (number | boolean | string)[]>>;

const USUAL: Sizes = { l: [2, 129, 260], n: [2, 6, 7, 33], m: [2, 6, 7, 33] };
/** Sizes next to tiles of 4, 16, 32, 64 and 128. A letter in place of a number stands for the size that has this letter. */
/* biome-ignore format: a table */
const TILES: Readonly<Record<string, Sizes>> = {
  linear: { l: [3, 127, 129, 257], i: [2, 7, 8, 9, 65], o: [1, 3, 4, 5, 63] },
  'linear-i8': { l: [3, 128, 129], i: [6, 24, 48, 54], o: [1, 3, 4, 5, 15, 16, 17, 33],
    g: [1, 2, 3, 6], s: ['l', 1], p: ['o', 1] },
  'linear-i4': { l: [3, 128, 129], i: [6, 24, 33, 48, 54, 66], o: [1, 3, 4, 5, 15, 16, 17, 33],
    g: [1, 2, 3, 6], s: ['l', 1] },
  'causal-conv1d': { l: [2, 127, 131, 300], d: [1, 3, 4, 5, 63, 64, 65], k: [1, 2, 3, 4, 5],
    activation: ['silu', 'none'] },
  'selective-scan': { l: [3, 127, 129, 257], d: [1, 4, 6, 64, 65, 129], n: [1, 2, 6, 15, 16, 17] },
  'ssd-scan': { l: [3, 129], h: [1, 2, 6], p: [1, 2, 5, 17, 33], g: [1, 2, 3], n: [4, 8, 20],
    lo: [0, 0.01], hi: [0.1, 1000] },
  'gated-rms-norm': { l: [2, 130], d: [3, 5, 10, 15, 33, 66, 99, 130, 161], g: [1, 2, 3, 5], eps: [1e-5, 1e-6] },
  attention: { l: [1, 3, 6], h: [1, 2, 4, 20], g: [1, 2, 4], p: [4, 12, 32, 64], t: [0, 1, 3, 126, 127, 128, 129, 255, 256, 257],
    scale: [0.1, 1] },
  rope: { l: [2, 129], h: [1, 3, 5], p: [5, 10, 17, 66, 80], r: [1, 2, 5, 8, 33] },
  'rope-table': { l: [3, 129], r: [4, 5, 17, 33, 64], sine: [false, true] },
  quantize: { l: [2, 129], n: [2, 3, 5, 15, 16, 17, 33], s: ['l'] },
  dequantize: { l: [2, 129], n: [2, 3, 5, 15, 16, 17, 33], s: ['l'] },
  'dequantize-i4': { l: [2, 129], n: [6, 24, 33, 48], g: [1, 2, 3, 6] },
  fwht: { l: [2, 130], n: [4, 8, 16, 32, 48, 96, 192, 384, 40, 160, 320, 112, 28], inverse: [false, true] },
  'rms-norm': { l: [2, 130], m: [2, 3, 5, 31, 33, 34, 63, 64, 65, 161], eps: [1e-5, 1e-6] },
  slice: { l: [2, 130], n: [11], start: [0, 1, 2, 3, 4], size: [1, 2, 3, 4, 5, 6] },
  embedding: { l: [130], v: [5, 9], m: [2, 3, 4, 6, 12] },
  'embedding-i8': { l: [130], v: [5, 9, 16, 17, 40], m: [2, 3, 4, 6, 12, 13] },
};
/** How many combinations of one table are taken, so that their number stays small. */
const MOST = 80;

/** Every choice of one value for each letter and attribute. */
export const choices = (sizes: Sizes): Choice[] =>
  Object.entries(sizes).reduce<Choice[]>(
    (all, [key, list]) => all.flatMap(choice => list.map(value => ({ ...choice, [key]: value }))),
    [{}],
  );

/** At most `MOST` of a list, the same ones each time. */
function some<T>(list: readonly T[]): readonly T[] {
  const next = random(list.length);
  return list.filter(() => next() < MOST / list.length);
}

const solved = (choice: Choice): Choice =>
  Object.fromEntries(Object.entries(choice).map(([key, value]) => [key, choice[value as string] ?? value]));

/** One point of a sweep: the sizes and attributes of a call, and the inputs that it goes without. */
export interface Point {
  readonly choice: Choice;
  readonly absent: readonly string[];
}

const inWords = ({ choice, absent }: Point): string =>
  [
    ...Object.entries(choice).map(([key, value]) => `${key}=${value}`),
    ...absent.map(key => `no-${key.toLowerCase()}`),
  ].join(',');

/** The points of an op at given choices, by the words of their addresses. Every optional input is there at half of them. */
export function pointsOf(op: AnyOp, all: readonly Choice[]): ReadonlyMap<string, Point> {
  const optional = optionalOf(op);
  const next = random(op.name.length);
  const points = all.map(choice => ({
    choice: solved(choice),
    absent: optional.filter(() => next() < 0.5),
  }));
  const allowed = points.filter(({ choice }) => !violated(op, { ...op.attrs, ...sizesOf(choice) }));
  return new Map(allowed.map(point => [inWords(point), point]));
}

const sweeps = once(
  () =>
    new Map(
      Object.values(ops).map((op: AnyOp) => [
        op,
        pointsOf(op, [...choices(op.sweep), ...some(choices(TILES[op.name] ?? USUAL))]),
      ]),
    ),
);
/** The points that the suite visits. */
export const sweepOf = (op: AnyOp): ReadonlyMap<string, Point> => sweeps().get(op)!;

export const sweepCases = (subject: Subject): Case[] =>
  forms.flatMap(form =>
    [...sweepOf(form.op)].map(([words, { choice, absent }], i) => {
      const about = {
        address: `op/${form.name}/sweep/${words}`,
        says: `${form.op.formula}, at these sizes`,
        quick: i % 4 === 0,
      };
      return opCase(subject, form, about, () => ordinaryCall(form, choice, absent, subject.seed));
    }),
  );
