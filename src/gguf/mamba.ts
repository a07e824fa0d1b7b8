/**
 * Mamba as llama.cpp's architectures `mamba` and `mamba2`: their keys, and their names for our tensors.
 *
 * Four things are said in another way there:
 *   A   is stored as −exp(A_log)
 *   h   the heads of Mamba-2, is the key of Mamba's r; D and the weight of the gated norm have two axes, [h, 1] and [g, d/g]
 *   b   of the convolution must be there; where the model has none it is 0
 *   ε   is one for all norms. Falcon-Mamba's norm on dt, B and C has its own, ε′; but
 *         norm(c·x; ε) = x / √(mean x² + ε / c²), which with c = √(ε / ε′) is norm(x; ε′), so x_proj is scaled by c
 *
 * Source  llama.cpp, src/models/mamba.cpp, mamba2.cpp, mamba-base.cpp, conversion/mamba.py
 */

import { plain } from '../formats/json.ts';
import type { Program, Ref } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { falconMamba } from '../model/falcon-mamba.ts';
import { type MambaConfig, mamba } from '../model/mamba.ts';
import { type Mamba2Config, mamba2 } from '../model/mamba2.ts';
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
  if (!isKnown(config))
    throw new RangeError(
      `${where}: architecture expected ${KNOWN.join(' or ')}; got ${plain(config.architecture)}`,
    );
  checkExpressible(config, where);
  return { metadata: metadataOf(config, stored, name), tensors: tensorsOf(config, program, stored) };
}

type Known = MambaConfig | Mamba2Config;
const KNOWN: readonly string[] = [mamba2.name, mamba.name, falconMamba.name];
const isKnown = (config: Config): config is Known => KNOWN.includes(config.architecture);
const isMamba2 = (config: Config): config is Mamba2Config => config.architecture === mamba2.name;
const innerOf = (config: Known): number => (isMamba2(config) ? config.heads * config.headDim : config.dInner);

function checkExpressible(config: Known, where: string): void {
  const { dModel, useBias } = config;
  if (!isMamba2(config) && config.dInner !== 2 * dModel)
    throw new RangeError(
      `${where}: d_inner expected 2 · d_model = ${2 * dModel}, all that llama.cpp runs; got ${config.dInner}`,
    );
  if (isMamba2(config) && (config.dtLo ?? config.dtHi) !== undefined)
    throw new RangeError(
      `${where}: time_step_limit expected none (llama.cpp's Mamba-2 does not limit dt); got [${config.dtLo ?? 0}, ${config.dtHi ?? Infinity}]`,
    );
  if (useBias)
    throw new RangeError(
      `${where}: use_bias expected false (llama.cpp's Mamba has no biases in in_proj and out_proj); got true`,
    );
}

function metadataOf(config: Known, stored: Storage, name: string): Record<string, GgufValue> {
  const arch = isMamba2(config) ? 'mamba2' : 'mamba';
  const own: Record<string, GgufValue> = isMamba2(config)
    ? { time_step_rank: ['u32', config.heads], group_count: ['u32', config.groups] }
    : { time_step_rank: ['u32', config.dtRank], dt_b_c_rms: ['bool', config.mixerNormEps !== undefined] };
  const ssm: Record<string, GgufValue> = {
    conv_kernel: ['u32', config.dConv],
    inner_size: ['u32', innerOf(config)],
    state_size: ['u32', config.dState],
    ...own,
  };
  return {
    'general.architecture': ['string', arch],
    'general.name': ['string', name],
    'general.file_type': ['u32', storage[stored].fileType],
    'general.quantization_version': ['u32', 2],
    [`${arch}.vocab_size`]: ['u32', config.vocabSize],
    [`${arch}.context_length`]: ['u32', CONTEXT],
    [`${arch}.embedding_length`]: ['u32', config.dModel],
    [`${arch}.block_count`]: ['u32', config.layers],
    [`${arch}.feed_forward_length`]: ['u32', 0],
    [`${arch}.attention.head_count`]: ['u32', 0],
    [`${arch}.attention.layer_norm_rms_epsilon`]: ['f32', config.normEps],
    ...Object.fromEntries(Object.entries(ssm).map(([key, value]) => [`${arch}.ssm.${key}`, value])),
  };
}

interface Named {
  /** llama.cpp's name. */
  readonly name: string;
  /** `matrix`: stored as asked, where its rows are whole blocks. */
  readonly as: 'matrix' | 'vector';
  readonly change?: (x: Tensor, config: Known) => Tensor;
  /** Its axes in Mamba-2, where they are not ours. */
  readonly axes?: (config: Mamba2Config) => readonly number[];
}
const matrix = (name: string, change?: Named['change']): Named => ({ name, as: 'matrix', change });
const vector = (name: string, how?: Pick<Named, 'change' | 'axes'>): Named => ({
  name,
  as: 'vector',
  ...how,
});

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
  ['mixer.dt_bias', vector('ssm_dt.bias')],
  ['mixer.A_log', vector('ssm_a', { change: x => negExp({ x: x as Tensor<'f32'> }).y })],
  ['mixer.D', vector('ssm_d', { axes: ({ heads }) => [heads, 1] })],
  [
    'mixer.norm.weight',
    vector('ssm_norm.weight', { axes: ({ heads, headDim, groups }) => [groups, (heads * headDim) / groups] }),
  ],
  ['mixer.out_proj.weight', matrix('ssm_out.weight')],
]);

function namedOf(ref: Ref): Named {
  const [, layer, inBlock] = /^backbone\.layers\.(\d+)\.(.+)$/.exec(ref) ?? [];
  const found = inBlock === undefined ? OUTER.get(ref) : IN_BLOCK.get(inBlock);
  if (!found) throw new Error(`gguf: llama.cpp's Mamba has no tensor for ${ref}`);
  return inBlock === undefined ? found : { ...found, name: `blk.${layer}.${found.name}` };
}

function tensorsOf(config: Known, { graph, weights }: Program, stored: Storage): Gguf['tensors'] {
  const type = storage[stored].matrix;
  const tensors: Record<string, GgufTensor> = {};
  for (const [ref, { shape }] of graph.weights) {
    const { name, as, change = x => x, axes } = namedOf(ref);
    tensors[name] = {
      type: as === 'matrix' && shape.at(-1)! % GGML[type].block === 0 ? type : 'F32',
      shape: axes && isMamba2(config) ? axes(config) : shape,
      get data() {
        return change(weights.read(ref), config).data as Float32Array;
      },
    };
  }
  const { layers, useConvBias } = config;
  for (let layer = 0; layer < layers && !useConvBias; layer++) {
    const [channels] = graph.weights.get(`backbone.layers.${layer}.mixer.conv1d.weight`)!.shape;
    tensors[`blk.${layer}.${CONV_BIAS}`] = {
      type: 'F32',
      shape: [channels],
      data: new Float32Array(channels),
    };
  }
  return tensors;
}

/** c of the page's head; 1 where no norm stands behind x_proj. */
const mixerScale = ({
  normEps,
  mixerNormEps = normEps,
}: Pick<MambaConfig, 'normEps' | 'mixerNormEps'>): number => Math.sqrt(normEps / mixerNormEps);

const scaled = (x: Tensor, c: number): Tensor =>
  c === 1 ? x : { ...x, dtype: 'f32', data: Float32Array.from(x.data, value => c * value) };
