/** How llama.cpp has a family of models: its keys, and its names for our tensors. */
import type { Weights } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { negExp } from '../ops/neg-exp.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import type { Gguf, GgufTensor, GgufValue } from './file.ts';
import { GGML, type GgmlType } from './ggml.ts';

/** What llama.cpp makes of a weight of ours. */
export interface Named<C> {
  /** llama.cpp's name; in a layer without `blk.<layer>.`. */
  readonly name: string;
  /** `matrix`: stored as asked, where its rows are whole blocks. */
  readonly as: 'matrix' | 'vector';
  /** Absent: in every model. */
  readonly when?: (config: C) => boolean;
  /** Its axes, where they are not ours. */
  readonly axes?: (config: C, shape: readonly number[]) => readonly number[];
  /** Its values, where they are not ours. */
  readonly change?: (data: Float32Array, config: C) => Float32Array;
}
/** Our names of the weights of a family, and what llama.cpp makes of each: one tensor, or several. */
export type Names<C> = Readonly<Record<string, Named<C> | readonly Named<C>[]>>;

export interface Family<C extends Config> {
  /** llama.cpp's word for the architecture. */
  arch(config: C): string;
  /**
   * @param where begins the sentence of an error: it names the config.
   * @throws RangeError for a model that llama.cpp cannot run.
   */
  check(config: C, where: string): void;
  /** The keys of the architecture, without its word. */
  keys(config: C): Readonly<Record<string, GgufValue>>;
  /** The config whose weights llama.cpp is to have: a multiplier that it has a key for is 1. Absent: the config itself. */
  plain?(config: C): C;
  /** What stands before the number of a layer in our names, such as `backbone.layers`. */
  readonly layers: string;
  /** The weights outside of the layers by name, and those of a layer without its number. */
  readonly outer: Names<C>;
  readonly inLayer: Names<C>;
}

export const matrix = <C>(name: string, how?: Omit<Named<C>, 'name' | 'as'>): Named<C> => ({
  name,
  as: 'matrix',
  ...how,
});
export const vector = <C>(name: string, how?: Omit<Named<C>, 'name' | 'as'>): Named<C> => ({
  name,
  as: 'vector',
  ...how,
});

/** A, which is stored as −exp(A_log). */
export const decays = <C>(): Named<C> =>
  vector('ssm_a', { change: (data: Float32Array) => negExp({ x: data }).y.data as Float32Array });

/** llama.cpp's name of the convolution's bias, which must be there. */
export const CONV_BIAS = 'ssm_conv1d.bias';

export const u32 = (value: number): GgufValue => ['u32', value];
export const f32 = (value: number): GgufValue => ['f32', value];

/**
 * The tensors, each read when its turn comes.
 *
 * @param stored the weights of a checkpoint.
 */
export function tensorsOf<C extends Config>(
  { layers, outer, inLayer }: Family<C>,
  config: C,
  stored: ReadonlyMap<string, TensorType>,
  weights: Weights,
  type: GgmlType,
): Gguf['tensors'] {
  const tensors: Record<string, GgufTensor> = {};
  for (const [ref, { shape }] of stored) {
    const [, layer, inner] = new RegExp(`^${layers.replaceAll('.', '\\.')}\\.(\\d+)\\.(.+)$`).exec(ref) ?? [];
    const found = inner === undefined ? outer[ref] : inLayer[inner];
    if (!found) throw new Error(`gguf: llama.cpp has no tensor for ${ref}`);
    for (const { name, as, when = () => true, axes, change = (data: Float32Array) => data } of [
      found,
    ].flat()) {
      if (!when(config)) continue;
      const extents = axes?.(config, shape) ?? shape;
      tensors[inner === undefined ? name : `blk.${layer}.${name}`] = {
        type: as === 'matrix' && extents.at(-1)! % GGML[type].block === 0 ? type : 'F32',
        shape: extents,
        get data() {
          return change((weights.read(ref) as Tensor<'f32'>).data, config);
        },
      };
    }
    const bias = `blk.${layer}.${CONV_BIAS}`;
    if (inner?.endsWith('conv1d.weight') && !stored.has(ref.replace(/weight$/, 'bias')))
      tensors[bias] = { type: 'F32', shape: [shape[0]], data: new Float32Array(shape[0]) };
  }
  return tensors;
}
