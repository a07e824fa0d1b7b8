/** Tensors and other values by name. */
import { type Tensor, tensor } from '../tensor.ts';

export type Tensors = Readonly<Record<string, Tensor>>;

/** The same names, with what `map` makes of each value. */
export const each = <T, U>(named: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(named).map(([key, value]) => [key, map(value)]));

export const copied = (tensors: Tensors): Tensors => each(tensors, t => tensor(t.data.slice(), t.shape));
