/**
 * Constants that the graph does not read as the checkpoint has them. Multipliers go into the weights before anything is measured,
 * so that a graph has none; and what no checkpoint holds is made.
 *
 * The residual stream of a model with an embedding multiplier e is carried divided by e: the embedding stays as it is, be the head
 * tied to it or not; whoever writes to the stream has its rows divided by e; and since norm(h; ε) = norm(h / e; ε / e²), every norm
 * of the stream has ε / e² for ε.
 */
import type { Graph, Weights } from '../graph.ts';
import { sizeOf, type Tensor, tensor } from '../tensor.ts';

/** So many rows, multiplied by a factor. */
export type Run = readonly [rows: number, factor: number];
/** A factor of all rows, one of each run of rows, or the values themselves, where the checkpoint has none. */
export type Fold = number | readonly Run[] | { readonly made: () => Float32Array };
/** By name. */
export type Folds = ReadonlyMap<string, Fold>;

const isMade = (fold: Fold | undefined): fold is Extract<Fold, { readonly made: unknown }> =>
  typeof fold === 'object' && 'made' in fold;

/** Whether the checkpoint has this constant of the graph. */
export const isStored = (folds: Folds, name: string): boolean => !isMade(folds.get(name));

/** `<layer>.<name>` for each layer: the same folds in all of them. */
export const inEachLayer = (
  layers: number,
  nameOf: (layer: number) => string,
  folds: Readonly<Record<string, Fold>>,
): readonly (readonly [string, Fold])[] =>
  Array.from({ length: layers }, (_, layer) =>
    Object.entries(folds).map(([name, fold]) => [`${nameOf(layer)}.${name}`, fold] as const),
  ).flat();

/** The weights as the graph reads them, each made when it is read. A product with a factor is rounded to f32 once. */
export function folded({ weights: types }: Graph, checkpoint: Weights, folds: Folds): Weights {
  return {
    has: ref => (isStored(folds, ref) ? checkpoint.has(ref) : types.has(ref)),
    read(ref) {
      const fold = folds.get(ref) ?? 1;
      if (isMade(fold)) return tensor(fold.made(), types.get(ref)!.shape);
      const w = checkpoint.read(ref);
      return multiplied(w as Tensor<'f32'>, typeof fold === 'number' ? [[w.shape[0], fold]] : fold);
    },
  };
}

function multiplied(w: Tensor<'f32'>, runs: readonly Run[]): Tensor<'f32'> {
  if (runs.every(([, factor]) => factor === 1)) return w;
  const data = w.data.slice();
  const width = sizeOf(w.shape.slice(1));
  let at = 0;
  for (const [rows, factor] of runs)
    for (const end = at + rows * width; at < end; at++) data[at] = Math.fround(data[at] * factor);
  return tensor(data, w.shape);
}
