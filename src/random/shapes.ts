/** The shapes of the public checkpoints (state-spaces/mamba-130m … 2.8b, mamba2-130m … 2.7b), for benches that need no download. */
import type { JsonObject } from '../formats/json.ts';
import { type MambaConfig, mamba } from '../model/mamba.ts';
import { type Mamba2Config, mamba2 } from '../model/mamba2.ts';

/** What config.json says of all of them. */
const common = {
  conv_kernel: 4,
  expand: 2,
  layer_norm_epsilon: 1e-5,
  hidden_act: 'silu',
  use_bias: false,
  use_conv_bias: true,
  tie_word_embeddings: true,
  residual_in_fp32: true,
  rms_norm: true,
  bos_token_id: 0,
  eos_token_id: 0,
  pad_token_id: 0,
};

/** A config.json as Hugging Face's MambaConfig writes it. */
const ofMamba = (width: number, layers: number): JsonObject => ({
  architectures: ['MambaForCausalLM'],
  model_type: 'mamba',
  hidden_size: width,
  intermediate_size: 2 * width,
  num_hidden_layers: layers,
  state_size: 16,
  time_step_rank: width / 16,
  vocab_size: 50280,
  ...common,
});

/** The same of its Mamba2Config. */
const ofMamba2 = (width: number, layers: number): JsonObject => ({
  architectures: ['Mamba2ForCausalLM'],
  model_type: 'mamba2',
  hidden_size: width,
  num_hidden_layers: layers,
  num_heads: width / 32,
  head_dim: 64,
  n_groups: 1,
  state_size: 128,
  vocab_size: 50288,
  ...common,
});

/** Their config.json. */
export const configs = {
  'mamba-130m': ofMamba(768, 24),
  'mamba-370m': ofMamba(1024, 48),
  'mamba-790m': ofMamba(1536, 48),
  'mamba-1.4b': ofMamba(2048, 48),
  'mamba-2.8b': ofMamba(2560, 64),
  'mamba2-130m': ofMamba2(768, 24),
  'mamba2-370m': ofMamba2(1024, 48),
  'mamba2-780m': ofMamba2(1536, 48),
  'mamba2-1.3b': ofMamba2(2048, 48),
  'mamba2-2.7b': ofMamba2(2560, 64),
} as const;

export type ShapeName = keyof typeof configs;

/** The same as they are read. */
export const shapes = Object.fromEntries(
  Object.entries(configs).map(([name, config]) => [
    name,
    (config.model_type === 'mamba2' ? mamba2 : mamba).parse(config, name),
  ]),
) as { readonly [S in ShapeName]: S extends `mamba2-${string}` ? Mamba2Config : MambaConfig };
