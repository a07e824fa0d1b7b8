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

import { plain } from '../formats/json.ts';
import type { Program, Ref } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { falconMamba } from '../model/falcon-mamba.ts';
import { type MambaConfig, mamba } from '../model/mamba.ts';
import { negExp } from '../ops/neg-exp.ts';
import type { Tensor } from '../tensor.ts';
import type { Gguf, GgufTensor, GgufValue } from './file.ts';
import { GGML, type GgmlType } from './ggml.ts';

/** How the large matrices are stored, by the file's own number and the type of a matrix whose rows are whole blocks. */
export const storage = {
  f32: { fileType: 0, matrix: 'F32' },
  f16: { fileType: 1, matrix: 'F16' },
  q8_0: { fileType: 7, matrix: 'Q8_0' },
} as const satisfies Record<string, { fileType: number; matrix: GgmlType }>;
export type Storage = keyof typeof storage;

/** Mamba has no longest text; llama.cpp's converter says this. */
const CONTEXT = 2 ** 20;
/** llama.cpp's name of the convolution's bias, which must be there. */
const CONV_BIAS = 'ssm_conv1d.bias';

/**
 * The model without a vocabulary; tensors are read when their turn comes. Vectors, the convolution, A and D are F32 in
 * every storage, and so are matrices whose rows are not whole blocks.
 *
 * @param name of the model, for people.
 * @param where begins the sentence of an error: it names the config.
 * @throws RangeError for a model that llama.cpp cannot run.
 */
export function ggufOf(
  config: Config,
  program: Program,
  stored: Storage,
  name: string,
  where = 'config',
): Gguf {
  if (!isMamba(config))
    throw new RangeError(
      `${where}: architecture expected mamba or falcon-mamba; got ${plain(config.architecture)}`,
    );
  checkExpressible(config, where);
  return { metadata: metadataOf(config, stored, name), tensors: tensorsOf(config, program, stored) };
}

const isMamba = (config: Config): config is MambaConfig =>
  [mamba.name, falconMamba.name].some(name => name === config.architecture);

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

interface Named {
  /** llama.cpp's name. */
  readonly name: string;
  /** `matrix`: stored as asked, where its rows are whole blocks. */
  readonly as: 'matrix' | 'vector';
  readonly change?: (x: Tensor, config: MambaConfig) => Tensor;
}
const matrix = (name: string, change?: Named['change']): Named => ({ name, as: 'matrix', change });
const vector = (name: string, change?: Named['change']): Named => ({ name, as: 'vector', change });

/** Our names of the weights outside of the blocks, and what llama.cpp makes of each. */
const OUTER: ReadonlyMap<string, Named> = new Map([
  ['backbone.embeddings.weight', matrix('token_embd.weight')],
  ['backbone.norm_f.weight', vector('output_norm.weight')],
  ['lm_head.weight', matrix('output.weight')],
]);
/** The same of the weights of a block, without its number. */
const IN_BLOCK: ReadonlyMap<string, Named> = new Map([
  ['norm.weight', vector('attn_norm.weight')],
  ['mixer.in_proj.weight', matrix('ssm_in.weight')],
  ['mixer.conv1d.weight', vector('ssm_conv1d.weight')],
  ['mixer.conv1d.bias', vector(CONV_BIAS)],
  ['mixer.x_proj.weight', matrix('ssm_x.weight', (x, config) => scaled(x, mixerScale(config)))],
  ['mixer.dt_proj.weight', matrix('ssm_dt.weight')],
  ['mixer.dt_proj.bias', vector('ssm_dt.bias')],
  ['mixer.A_log', vector('ssm_a', x => negExp({ x: x as Tensor<'f32'> }).y)],
  ['mixer.D', vector('ssm_d')],
  ['mixer.out_proj.weight', matrix('ssm_out.weight')],
]);

function namedOf(ref: Ref): Named {
  const [, layer, inBlock] = /^backbone\.layers\.(\d+)\.(.+)$/.exec(ref) ?? [];
  const found = inBlock === undefined ? OUTER.get(ref) : IN_BLOCK.get(inBlock);
  if (!found) throw new Error(`gguf: llama.cpp's Mamba has no tensor for ${ref}`);
  return inBlock === undefined ? found : { ...found, name: `blk.${layer}.${found.name}` };
}

function tensorsOf(config: MambaConfig, { graph, weights }: Program, stored: Storage): Gguf['tensors'] {
  const type = storage[stored].matrix;
  const tensors: Record<string, GgufTensor> = {};
  for (const [ref, { shape }] of graph.weights) {
    const { name, as, change = x => x } = namedOf(ref);
    tensors[name] = {
      type: as === 'matrix' && shape.at(-1)! % GGML[type].block === 0 ? type : 'F32',
      shape,
      get data() {
        return change(weights.read(ref), config).data as Float32Array;
      },
    };
  }
  const { layers, dInner, useConvBias } = config;
  for (let layer = 0; layer < layers && !useConvBias; layer++)
    tensors[`blk.${layer}.${CONV_BIAS}`] = { type: 'F32', shape: [dInner], data: new Float32Array(dInner) };
  return tensors;
}

/** c of the page's head; 1 where no norm stands behind x_proj. */
const mixerScale = ({ normEps, mixerNormEps = normEps }: MambaConfig): number =>
  Math.sqrt(normEps / mixerNormEps);

const scaled = (x: Tensor, c: number): Tensor =>
  c === 1 ? x : { ...x, dtype: 'f32', data: Float32Array.from(x.data, value => c * value) };
