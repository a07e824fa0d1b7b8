/** Where things lie in linear memory: everything at addresses fixed before a plan runs. */
import type { ValueType } from '../../graph.ts';
import { BYTES, type DataOf, type DType } from '../../tensor.ts';

/** A value's bytes, and the first and last instruction that needs them. */
interface Lifetime {
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
}

type ArrayOf<D extends DType> = new (memory: ArrayBufferLike, at: number, size: number) => DataOf[D];
const ARRAYS: { readonly [D in DType]: ArrayOf<D> } = { f32: Float32Array, i8: Int8Array, i32: Int32Array };
/** The `size` values of a dtype that lie at an address. */
export const arrayAt = <D extends DType>(dtype: D, memory: ArrayBufferLike, at: number, size: number) =>
  new ARRAYS[dtype](memory, at, size);

/** A cache line; and how far beyond its last value a kernel may load. */
const LINE = 64;
export const aligned = (bytes: number): number => Math.ceil(bytes / LINE) * LINE;

/** Rows are padded to whole vectors of four values. What the padding holds is never looked at. */
export const padded = (n: number): number => Math.ceil(n / 4) * 4;

/** The bytes of a row of a value [l, n], or of a value [l]. */
export const rowBytes = ({ dtype, shape }: ValueType): number =>
  BYTES[dtype] * (shape.length === 1 ? 1 : padded(shape[1] as number));

/**
 * Offsets for values such that no two overlap while both are needed, and the bytes of all: the largest first, each at the
 * lowest place that is free for its lifetime.
 */
export function arrange(lifetimes: readonly Lifetime[]): {
  readonly offsets: readonly number[];
  readonly bytes: number;
} {
  const offsets = new Array<number>(lifetimes.length).fill(0);
  const sizes = lifetimes.map(({ bytes }) => aligned(bytes + LINE));
  const placed: number[] = [];
  let total = 0;
  for (const i of lifetimes.map((_, at) => at).sort((a, b) => sizes[b] - sizes[a])) {
    const { from, to } = lifetimes[i];
    let offset = 0;
    for (const j of placed) {
      if (lifetimes[j].to < from || lifetimes[j].from > to) continue;
      if (offset + sizes[i] <= offsets[j]) break; // `placed` is in the order of the offsets
      offset = Math.max(offset, offsets[j] + sizes[j]);
    }
    offsets[i] = offset;
    total = Math.max(total, offset + sizes[i]);
    const after = placed.findIndex(j => offsets[j] > offset);
    placed.splice(after < 0 ? placed.length : after, 0, i);
  }
  return { offsets, bytes: total };
}
