/** The shapes of the public Mamba-1 checkpoints (state-spaces/mamba-130m … 2.8b), for benches that need no download. */
import type { MambaConfig } from '../model/config.ts';

const shape = (dModel: number, layers: number): MambaConfig => ({
  architecture: 'mamba',
  layers,
  dModel,
  dInner: 2 * dModel,
  dState: 16,
  dConv: 4,
  dtRank: dModel / 16,
  vocabSize: 50280,
  normEps: 1e-5,
  tieEmbeddings: true,
  useBias: false,
  useConvBias: true,
  naming: 'hf',
  eosTokenId: 0,
});

export const shapes = {
  'mamba-130m': shape(768, 24),
  'mamba-370m': shape(1024, 48),
  'mamba-790m': shape(1536, 48),
  'mamba-1.4b': shape(2048, 48),
  'mamba-2.8b': shape(2560, 64),
} as const satisfies Record<string, MambaConfig>;

export type ShapeName = keyof typeof shapes;

/** A config.json that Hugging Face's MambaConfig, and `parseConfig`, read as this shape. */
export const configJson = (config: MambaConfig, dtype: 'float32' | 'float16' = 'float32'): object => ({
  architectures: ['MambaForCausalLM'],
  model_type: 'mamba',
  hidden_size: config.dModel,
  intermediate_size: config.dInner,
  num_hidden_layers: config.layers,
  state_size: config.dState,
  conv_kernel: config.dConv,
  expand: config.dInner / config.dModel,
  time_step_rank: config.dtRank,
  vocab_size: config.vocabSize,
  layer_norm_epsilon: config.normEps,
  hidden_act: 'silu',
  use_bias: config.useBias,
  use_conv_bias: config.useConvBias,
  tie_word_embeddings: config.tieEmbeddings,
  residual_in_fp32: true,
  rms_norm: true,
  bos_token_id: 0,
  eos_token_id: 0,
  pad_token_id: 0,
  torch_dtype: dtype,
});
