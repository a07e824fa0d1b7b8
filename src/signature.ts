/**
 * Signatures taken apart: `'f32[d, k-1]?'` is a dtype, its axes, and whether it may be left out. The
 * types of what an op is called with follow from its signatures.
 */
import type { DType, Signature, TensorOf } from './tensor.ts';

export type Signatures = Readonly<Record<string, Signature>>;
type Optional<S extends Signatures> = { [K in keyof S]: S[K] extends `${string}?` ? K : never }[keyof S];

/** Tensors by name, typed by their signatures. */
export type Tensors<S extends Signatures> = {
  readonly [K in Exclude<keyof S, Optional<S>>]: TensorOf<S[K]>;
} & {
  readonly [K in Optional<S>]?: TensorOf<S[K]>;
};
/** What a caller may pass: tensors, or plain typed arrays whose shapes follow from the signature (see `bind`). */
export type Inputs<S extends Signatures> = {
  readonly [K in Exclude<keyof S, Optional<S>>]: TensorOf<S[K]> | TensorOf<S[K]>['data'];
} & { readonly [K in Optional<S>]?: TensorOf<S[K]> | TensorOf<S[K]>['data'] };

/** `n`, `k-1`, `h*p`: letters that are multiplied, and what is subtracted from that; or a size. */
export interface Axis {
  readonly letters: readonly string[];
  readonly minus: number;
  readonly size?: number;
}
/** A signature taken apart. */
export interface Parsed {
  readonly text: string;
  readonly dtype: DType;
  readonly axes: readonly Axis[];
  readonly optional: boolean;
}
const parsed = new Map<string, Parsed>();

/** `'f32[d, k-1]?'` → its dtype and axes. */
export function parse(signature: string): Parsed {
  const known = parsed.get(signature);
  if (known) return known;
  const [, text, dtype, axes, optional] = /^((f32|i8|i32)\[([^\]]*)\])(\?)?$/.exec(signature) ?? [];
  if (!text) throw new TypeError(`signature '${signature}' is not of the form f32[l, n]`);
  const result = {
    text,
    dtype: dtype as DType,
    axes: axes.split(',').map(axis => {
      const [, size, letters, minus] = /^\s*(?:(\d+)|([a-z]+(?:\*[a-z]+)?)(?:-(\d+))?)\s*$/.exec(axis) ?? [];
      return size
        ? { letters: [], size: Number(size), minus: 0 }
        : { letters: letters.split('*'), minus: Number(minus ?? 0) };
    }),
    optional: optional === '?',
  };
  parsed.set(signature, result);
  return result;
}

/** Whether its first axis is the tokens fed so far, as that of a state that grows. */
export const isGrowing = ({ axes }: Parsed): boolean => axes[0].letters[0] === 't';

type Known = Readonly<Record<string, number>>;

/** The letters of an axis that are not known yet. */
export const unknownOf = ({ letters }: Axis, dims: Known): readonly string[] =>
  letters.filter(letter => dims[letter] === undefined);

const product = ({ letters }: Axis, dims: Known): number =>
  letters.reduce((size, letter) => size * (dims[letter] ?? 1), 1);

/** The size of an axis, where its letters are known. */
export const extent = (axis: Axis, dims: Known): number | undefined =>
  axis.size ?? (unknownOf(axis, dims).length ? undefined : product(axis, dims) - axis.minus);

/** What the one letter of an axis that is not known is, where the axis has `size`. It may not be whole. */
export const solved = (axis: Axis, dims: Known, size: number): number =>
  (size + axis.minus) / product(axis, dims);
