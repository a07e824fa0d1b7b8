/** Tensors and other values by name. */
import { parse, type Signatures } from '../signature.ts';
import { type Tensor, tensor } from '../tensor.ts';

export type Tensors = Readonly<Record<string, Tensor>>;

/** The same names, with what `map` makes of each value. */
export const each = <T, U>(named: Readonly<Record<string, T>>, map: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(named).map(([key, value]) => [key, map(value)]));

export const copied = (tensors: Tensors): Tensors => each(tensors, t => tensor(t.data.slice(), t.shape));

/** Of `size` tokens from token `at` on: the rows of each tensor that has a row for each token, and all of the others. */
export const tokensOf = (
  signatures: Signatures,
  tensors: Readonly<Record<string, Tensor | undefined>>,
  at: number,
  size: number,
): Record<string, Tensor> => {
  const parts: Record<string, Tensor> = {};
  for (const [key, whole] of Object.entries(tensors)) {
    if (!whole) continue;
    const [, width = 1] = whole.shape;
    parts[key] =
      parse(signatures[key]).axes[0].letters[0] === 'l'
        ? tensor(whole.data.subarray(at * width, (at + size) * width), [size, ...whole.shape.slice(1)])
        : whole;
  }
  return parts;
};
