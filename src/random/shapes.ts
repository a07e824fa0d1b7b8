/**
 * The shapes of the public checkpoints (state-spaces/mamba-130m … 2.8b, mamba2-130m … 2.7b, the dense Granite-4.0-H, Falcon-H1), for
 * benches that need no download.
 */
import type { JsonObject } from '../formats/json.ts';
import { falconH1 } from '../model/falcon-h1.ts';
import { graniteHybrid } from '../model/granite-hybrid.ts';
import { mamba } from '../model/mamba.ts';
import { mamba2 } from '../model/mamba2.ts';

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

/** The same of GraniteMoeHybridConfig, with attention in these layers. */
const ofGranite = (
  width: number,
  layers: number,
  attention: readonly number[],
  [heads, keys]: readonly [heads: number, keys: number],
  [ssmHeads, ssmHeadDim]: readonly [heads: number, dim: number],
  mlp: number,
  [residual, logits]: readonly [residual: number, logits: number],
): JsonObject => ({
  architectures: ['GraniteMoeHybridForCausalLM'],
  model_type: 'granitemoehybrid',
  hidden_size: width,
  num_hidden_layers: layers,
  layer_types: Array.from({ length: layers }, (_, layer) =>
    attention.includes(layer) ? 'attention' : 'mamba',
  ),
  num_attention_heads: heads,
  num_key_value_heads: keys,
  attention_bias: false,
  attention_multiplier: heads / width,
  embedding_multiplier: 12,
  residual_multiplier: residual,
  logits_scaling: logits,
  position_embedding_type: 'nope',
  num_local_experts: 0,
  num_experts_per_tok: 0,
  intermediate_size: mlp,
  shared_intermediate_size: mlp,
  mamba_n_heads: ssmHeads,
  mamba_d_head: ssmHeadDim,
  mamba_d_state: 128,
  mamba_n_groups: 1,
  mamba_d_conv: 4,
  mamba_expand: 2,
  mamba_conv_bias: true,
  mamba_proj_bias: false,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  vocab_size: 100352,
  tie_word_embeddings: true,
  bos_token_id: 100257,
  eos_token_id: 100257,
  pad_token_id: 100256,
});

/** The same of FalconH1Config. */
const ofFalconH1 = (
  width: number,
  layers: number,
  ssmHeadDim: number,
  dState: number,
  mlp: number,
  own: JsonObject,
): JsonObject => ({
  architectures: ['FalconH1ForCausalLM'],
  model_type: 'falcon_h1',
  hidden_size: width,
  num_hidden_layers: layers,
  num_attention_heads: 8,
  num_key_value_heads: 2,
  head_dim: 64,
  rope_theta: 1e11,
  intermediate_size: mlp,
  mamba_d_ssm: 24 * ssmHeadDim,
  mamba_n_heads: 24,
  mamba_d_head: ssmHeadDim,
  mamba_d_state: dState,
  mamba_n_groups: 1,
  mamba_d_conv: 4,
  mamba_expand: 2,
  mamba_conv_bias: true,
  mamba_proj_bias: false,
  mamba_rms_norm: false,
  mamba_norm_before_gate: false,
  projectors_bias: false,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  bos_token_id: 1,
  eos_token_id: 11,
  pad_token_id: 0,
  ...own,
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
  'granite-4.0-h-350m': ofGranite(768, 32, [10, 13, 17, 27], [12, 4], [48, 32], 2048, [0.246, 3]),
  'granite-4.0-h-1b': ofGranite(1536, 40, [5, 15, 25, 35], [12, 4], [48, 64], 4096, [0.22, 6]),
  'granite-4.0-h-micro': ofGranite(2048, 40, [5, 15, 25, 35], [32, 8], [64, 64], 8192, [0.22, 8]),
  'falcon-h1-tiny-90m': ofFalconH1(512, 24, 32, 64, 768, {
    vocab_size: 32768,
    tie_word_embeddings: true,
    embedding_multiplier: 0.11083984375,
    lm_head_multiplier: 0.078125,
  }),
  'falcon-h1-0.5b': ofFalconH1(1024, 36, 64, 128, 2048, {
    vocab_size: 32784,
    tie_word_embeddings: false,
    embedding_multiplier: 5.656854249492381,
    lm_head_multiplier: 0.0390625,
    attention_out_multiplier: 0.9375,
    key_multiplier: 0.390625,
    mlp_multipliers: [0.8838834764831844, 0.5859375],
    ssm_in_multiplier: 1.25,
    ssm_out_multiplier: 0.23570226039551584,
    ssm_multipliers: [0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738],
  }),
} as const;

export type ShapeName = keyof typeof configs;

/** The same as they are read. */
const parsers = { mamba, mamba2, granitemoehybrid: graniteHybrid, falcon_h1: falconH1 } as const;
type Parsed<A extends keyof typeof parsers> = ReturnType<(typeof parsers)[A]['parse']>;
export const shapes = Object.fromEntries(
  Object.entries(configs).map(([name, config]) => [
    name,
    parsers[config.model_type as keyof typeof parsers].parse(config, name),
  ]),
) as {
  readonly [S in ShapeName]: S extends `mamba2-${string}`
    ? Parsed<'mamba2'>
    : S extends `granite-${string}`
      ? Parsed<'granitemoehybrid'>
      : S extends `falcon-${string}`
        ? Parsed<'falcon_h1'>
        : Parsed<'mamba'>;
};
