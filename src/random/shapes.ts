/** The shapes of the public Mamba-1 checkpoints (state-spaces/mamba-130m … 2.8b), for benches that need no download. */
import type { JsonObject } from '../formats/json.ts';
import { type MambaConfig, mamba } from '../model/mamba.ts';

/** A config.json as Hugging Face's MambaConfig writes it. */
const json = (width: number, layers: number): JsonObject => ({
  architectures: ['MambaForCausalLM'],
  model_type: 'mamba',
  hidden_size: width,
  intermediate_size: 2 * width,
  num_hidden_layers: layers,
  state_size: 16,
  conv_kernel: 4,
  expand: 2,
  time_step_rank: width / 16,
  vocab_size: 50280,
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
});

/** Their config.json. */
export const configs = {
  'mamba-130m': json(768, 24),
  'mamba-370m': json(1024, 48),
  'mamba-790m': json(1536, 48),
  'mamba-1.4b': json(2048, 48),
  'mamba-2.8b': json(2560, 64),
} as const;

export type ShapeName = keyof typeof configs;

/** The same as they are read. */
export const shapes = Object.fromEntries(
  Object.entries(configs).map(([name, config]) => [name, mamba.parse(config, name)]),
) as Readonly<Record<ShapeName, MambaConfig>>;
