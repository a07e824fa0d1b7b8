/**
 * Mamba as llama.cpp's architecture `mamba`: its keys, and its names for our tensors.
 *
 * Three things are said in another way there:
 *   A   is stored as −exp(A_log)
 *   b   of the convolution must be there; where the model has none it is 0
 *   ε   is one for all norms. Falcon-Mamba's norm on dt, B and C has its own, ε′; but
 *         norm(c·x; ε) = x / √(mean x² + ε / c²), which with c = √(ε / ε′) is norm(x; ε′), so x_proj is scaled by c
 *
 * Source  llama.cpp, src/models/mamba.cpp, src/models/mamba-base.cpp, conversion/mamba.py
 */

import type { Weights } from '../graph.ts';
import type { MambaConfig } from '../model/config.ts';
import { negExp } from '../ops/neg-exp.ts';
import type { Tensor } from '../tensor.ts';
import type { Gguf, GgufTensor, GgufValue } from './file.ts';
import type { GgmlType } from './ggml.ts';

/** How the large matrices are stored, by the file's own number and the type of a matrix whose rows are whole blocks. */
export const storage = {
  f32: { fileType: 0, matrix: 'F32', block: 1 },
  f16: { fileType: 1, matrix: 'F16', block: 1 },
  q8_0: { fileType: 7, matrix: 'Q8_0', block: 32 },
} as const satisfies Record<string, { fileType: number; matrix: GgmlType; block: number }>;
export type Storage = keyof typeof storage;

/** Mamba has no longest text; llama.cpp's converter says this. */
const CONTEXT = 2 ** 20;

/**
 * The model without a vocabulary; tensors are read when their turn comes. Vectors, the convolution, A and D are F32 in
 * every storage, and so are matrices whose rows are not whole blocks.
 *
 * @param name of the model, for people.
 * @param where begins the sentence of an error: it names the config.
 * @throws RangeError for a model that llama.cpp cannot run.
 */
export function ggufOf(
  config: MambaConfig,
  weights: Weights,
  stored: Storage,
  name: string,
  where = 'config',
): Gguf {
  checkExpressible(config, where);
  return { metadata: metadataOf(config, stored, name), tensors: tensorsOf(config, weights, stored) };
}

function checkExpressible({ dInner, dModel, useBias }: MambaConfig, where: string): void {
  if (dInner !== 2 * dModel)
    throw new RangeError(
      `${where}: d_inner expected 2 · d_model = ${2 * dModel}, all that llama.cpp runs; got ${dInner}`,
    );
  if (useBias)
    throw new RangeError(
      `${where}: use_bias expected false (llama.cpp's Mamba has no biases in in_proj and out_proj); got true`,
    );
}

function metadataOf(config: MambaConfig, stored: Storage, name: string): Record<string, GgufValue> {
  return {
    'general.architecture': ['string', 'mamba'],
    'general.name': ['string', name],
    'general.file_type': ['u32', storage[stored].fileType],
    'general.quantization_version': ['u32', 2],
    'mamba.vocab_size': ['u32', config.vocabSize],
    'mamba.context_length': ['u32', CONTEXT],
    'mamba.embedding_length': ['u32', config.dModel],
    'mamba.block_count': ['u32', config.layers],
    'mamba.feed_forward_length': ['u32', 0],
    'mamba.attention.head_count': ['u32', 0],
    'mamba.attention.layer_norm_rms_epsilon': ['f32', config.normEps],
    'mamba.ssm.conv_kernel': ['u32', config.dConv],
    'mamba.ssm.inner_size': ['u32', config.dInner],
    'mamba.ssm.state_size': ['u32', config.dState],
    'mamba.ssm.time_step_rank': ['u32', config.dtRank],
    'mamba.ssm.dt_b_c_rms': ['bool', config.mixerNormEps !== undefined],
  };
}

function tensorsOf(config: MambaConfig, weights: Weights, stored: Storage): Record<string, GgufTensor> {
  const { matrix: type, block } = storage[stored];
  const vector = (ref: string, change?: (x: Tensor) => Tensor) => lazy(weights, 'F32', ref, change);
  const matrix = (ref: string, change?: (x: Tensor) => Tensor) =>
    lazy(weights, weights.shape(ref).at(-1)! % block === 0 ? type : 'F32', ref, change);

  const tensors: Record<string, GgufTensor> = {
    'token_embd.weight': matrix('backbone.embeddings.weight'),
    'output_norm.weight': vector('backbone.norm_f.weight'),
  };
  if (!config.tieEmbeddings) tensors['output.weight'] = matrix('lm_head.weight');
  for (let layer = 0; layer < config.layers; layer++) {
    const from = `backbone.layers.${layer}`;
    const to = `blk.${layer}`;
    Object.assign(tensors, {
      [`${to}.attn_norm.weight`]: vector(`${from}.norm.weight`),
      [`${to}.ssm_in.weight`]: matrix(`${from}.mixer.in_proj.weight`),
      [`${to}.ssm_conv1d.weight`]: vector(`${from}.mixer.conv1d.weight`),
      [`${to}.ssm_conv1d.bias`]: config.useConvBias
        ? vector(`${from}.mixer.conv1d.bias`)
        : { type: 'F32', shape: [config.dInner], data: new Float32Array(config.dInner) },
      [`${to}.ssm_x.weight`]: matrix(`${from}.mixer.x_proj.weight`, scaled(mixerScale(config))),
      [`${to}.ssm_dt.weight`]: matrix(`${from}.mixer.dt_proj.weight`),
      [`${to}.ssm_dt.bias`]: vector(`${from}.mixer.dt_proj.bias`),
      [`${to}.ssm_a`]: vector(`${from}.mixer.A_log`, x => negExp({ x: x as Tensor<'f32'> }).y),
      [`${to}.ssm_d`]: vector(`${from}.mixer.D`),
      [`${to}.ssm_out.weight`]: matrix(`${from}.mixer.out_proj.weight`),
    });
  }
  return tensors;
}

/** c of the page's head; 1 where no norm stands behind x_proj. */
const mixerScale = ({ normEps, mixerNormEps = normEps }: MambaConfig): number =>
  Math.sqrt(normEps / mixerNormEps);

const scaled =
  (c: number) =>
  (x: Tensor): Tensor =>
    c === 1 ? x : { ...x, dtype: 'f32', data: Float32Array.from(x.data, value => c * value) };

function lazy(
  weights: Weights,
  type: GgmlType,
  ref: string,
  change: (x: Tensor) => Tensor = x => x,
): GgufTensor {
  return {
    type,
    shape: weights.shape(ref),
    get data() {
      return change(weights.read(ref)).data as Float32Array;
    },
  };
}
