/**
 * Signatures taken apart: `'f32[d, k-1]?'` is a dtype, an axis for each letter or number, and whether it may be left out. The
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

/** `k-1`: a letter, and what is subtracted from its value; or a size. */
export interface Axis {
  readonly letter?: string;
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
      const [, size, letter, minus] = /^\s*(?:(\d+)|([a-z]+)(?:-(\d+))?)\s*$/.exec(axis) ?? [];
      return size ? { size: Number(size), minus: 0 } : { letter, minus: Number(minus ?? 0) };
    }),
    optional: optional === '?',
  };
  parsed.set(signature, result);
  return result;
}

/** The size of an axis, where its letter is known. */
export const extent = (axis: Axis, dims: Readonly<Record<string, number>>): number | undefined =>
  axis.size ?? (dims[axis.letter!] === undefined ? undefined : dims[axis.letter!] - axis.minus);
