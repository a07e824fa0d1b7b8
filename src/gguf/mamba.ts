/**
 * Mamba and Mamba-2 as llama.cpp's architectures `mamba` and `mamba2`.
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
import type { MambaMixer } from '../model/blocks/mamba.ts';
import type { Mamba2Mixer } from '../model/blocks/mamba2.ts';
import type { MambaConfig } from '../model/mamba.ts';
import type { Mamba2Config } from '../model/mamba2.ts';
import { CONV_BIAS, decays, type Family, f32, matrix, type Names, u32, vector } from './family.ts';

/** Mamba has no longest text; llama.cpp's converter says this. */
export const CONTEXT = 2 ** 20;

type MixerConfig = MambaMixer & { readonly normEps: number };

/** The tensors of Mamba's mixer, whose names begin with `prefix`. */
export const mambaTensors = <C extends MixerConfig>(prefix: string): Names<C> => ({
  [`${prefix}in_proj.weight`]: matrix('ssm_in.weight'),
  [`${prefix}conv1d.weight`]: vector('ssm_conv1d.weight'),
  [`${prefix}conv1d.bias`]: vector(CONV_BIAS),
  [`${prefix}x_proj.weight`]: matrix('ssm_x.weight', {
    change: (data, config) => scaled(data, mixerScale(config)),
  }),
  [`${prefix}dt_layernorm.weight`]: vector('ssm_dt_norm.weight'),
  [`${prefix}b_layernorm.weight`]: vector('ssm_b_norm.weight'),
  [`${prefix}c_layernorm.weight`]: vector('ssm_c_norm.weight'),
  [`${prefix}dt_proj.weight`]: matrix('ssm_dt.weight'),
  [`${prefix}dt_proj.bias`]: vector('ssm_dt.bias'),
  [`${prefix}A_log`]: decays(),
  [`${prefix}D`]: vector('ssm_d'),
  [`${prefix}out_proj.weight`]: matrix('ssm_out.weight'),
});

/** c of the page's head; 1 where no norm stands behind x_proj. */
const mixerScale = ({ normEps, mixerNormEps = normEps }: MixerConfig): number =>
  Math.sqrt(normEps / mixerNormEps);

const scaled = (data: Float32Array, c: number): Float32Array => (c === 1 ? data : data.map(x => c * x));

/** The same of Mamba-2's mixer. */
export const mamba2Tensors = <C extends Mamba2Mixer>(prefix: string): Names<C> => ({
  [`${prefix}in_proj.weight`]: matrix('ssm_in.weight'),
  [`${prefix}conv1d.weight`]: vector('ssm_conv1d.weight'),
  [`${prefix}conv1d.bias`]: vector(CONV_BIAS),
  [`${prefix}dt_bias`]: vector('ssm_dt.bias'),
  [`${prefix}A_log`]: decays(),
  [`${prefix}D`]: vector('ssm_d', { axes: ({ heads }) => [heads, 1] }),
  [`${prefix}norm.weight`]: vector('ssm_norm.weight', {
    axes: ({ heads, headDim, groups }) => [groups, (heads * headDim) / groups],
  }),
  [`${prefix}out_proj.weight`]: matrix('ssm_out.weight'),
});

/** The keys `ssm.…` of both mixers. */
export const mambaKeys = ({ dConv, dInner, dState, dtRank }: MambaMixer) => ({
  'ssm.conv_kernel': u32(dConv),
  'ssm.inner_size': u32(dInner),
  'ssm.state_size': u32(dState),
  'ssm.time_step_rank': u32(dtRank),
});
export const mamba2Keys = ({ dConv, heads, headDim, dState, groups }: Mamba2Mixer) => ({
  'ssm.conv_kernel': u32(dConv),
  'ssm.inner_size': u32(heads * headDim),
  'ssm.state_size': u32(dState),
  'ssm.time_step_rank': u32(heads),
  'ssm.group_count': u32(groups),
});

/** What llama.cpp lacks of a mixer. */
export function checkMamba({ dInner, dModel, useBias }: MambaMixer, where: string, field: string): void {
  if (dInner !== 2 * dModel)
    throw new RangeError(
      `${where}: d_inner expected 2 · d_model = ${2 * dModel}, all that llama.cpp runs; got ${dInner}`,
    );
  noBias(useBias, where, field);
}
export function checkMamba2(config: Mamba2Mixer, where: string, field: string): void {
  const { dtLo, dtHi, useBias, useOutBias = useBias } = config;
  if ((dtLo ?? dtHi) !== undefined)
    throw new RangeError(
      `${where}: time_step_limit expected none (llama.cpp's Mamba-2 does not limit dt); got [${dtLo ?? 0}, ${dtHi ?? Infinity}]`,
    );
  noBias(useBias || useOutBias, where, field);
}
function noBias(useBias: boolean, where: string, field: string): void {
  if (useBias)
    throw new RangeError(
      `${where}: ${field} expected false (llama.cpp's Mamba has no biases in in_proj and out_proj); got true`,
    );
}

const around = <C>(): Names<C> => ({
  'backbone.embeddings.weight': matrix('token_embd.weight'),
  'backbone.norm_f.weight': vector('output_norm.weight'),
  'lm_head.weight': matrix('output.weight'),
});
const NO_ATTENTION = {
  context_length: u32(CONTEXT),
  feed_forward_length: u32(0),
  'attention.head_count': u32(0),
};

export const mambaFamily: Family<MambaConfig> = {
  arch: () => 'mamba',
  check: (config, where) => checkMamba(config, where, 'use_bias'),
  keys: config => ({
    ...NO_ATTENTION,
    'attention.layer_norm_rms_epsilon': f32(config.normEps),
    ...mambaKeys(config),
    'ssm.dt_b_c_rms': ['bool', config.mixerNormEps !== undefined],
  }),
  layers: 'backbone.layers',
  outer: around(),
  inLayer: { 'norm.weight': vector('attn_norm.weight'), ...mambaTensors('mixer.') },
};

export const mamba2Family: Family<Mamba2Config> = {
  arch: () => 'mamba2',
  check: (config, where) => checkMamba2(config, where, 'use_bias'),
  keys: config => ({
    ...NO_ATTENTION,
    'attention.layer_norm_rms_epsilon': f32(config.normEps),
    ...mamba2Keys(config),
  }),
  layers: 'backbone.layers',
  outer: around(),
  inLayer: { 'norm.weight': vector('attn_norm.weight'), ...mamba2Tensors('mixer.') },
};
