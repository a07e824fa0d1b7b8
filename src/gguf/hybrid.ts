/**
 * The hybrids as llama.cpp's architectures `granitehybrid` (and `granite`, where all layers are attention), `falcon-h1` and `jamba`.
 *
 *   e   the embedding's multiplier. Granite's has a key. Falcon-H1's goes into token_embd, and a head of its own is written even
 *       where the model's is the embedding
 *   kv  the number of heads of keys is a list: 0 in a layer without attention
 *   q,k of Granite: llama.cpp turns pairs of neighbours, where the model turns pairs of halves; so their rows change places
 *
 * All other multipliers are in the weights, as in our graph.
 *
 * Source  llama.cpp, src/models/granite-hybrid.cpp, granite.cpp, falcon-h1.cpp, jamba.cpp, conversion/granite.py, falcon_h1.py
 */
import type { FalconH1Config } from '../model/falcon-h1.ts';
import type { GraniteHybridConfig } from '../model/granite-hybrid.ts';
import type { HybridConfig } from '../model/hybrid.ts';
import type { JambaConfig } from '../model/jamba.ts';
import { type Family, f32, matrix, type Named, type Names, u32, vector } from './family.ts';
import type { GgufValue } from './file.ts';
import {
  CONTEXT,
  checkMamba,
  checkMamba2,
  mamba2Keys,
  mamba2Tensors,
  mambaKeys,
  mambaTensors,
} from './mamba.ts';

/** The keys that all have. */
const hybridKeys = (config: HybridConfig, keyHeads: GgufValue): Readonly<Record<string, GgufValue>> => ({
  context_length: u32(CONTEXT),
  feed_forward_length: u32(config.dMlp),
  'attention.head_count': u32(config.queryHeads),
  'attention.head_count_kv': keyHeads,
  'attention.key_length': u32(config.attentionDim),
  'attention.value_length': u32(config.attentionDim),
  'attention.layer_norm_rms_epsilon': f32(config.normEps),
  ...(config.ropeTheta !== undefined && {
    'rope.dimension_count': u32(config.attentionDim),
    'rope.freq_base': f32(config.ropeTheta),
  }),
});

/** The heads of keys of each layer. */
const inLayers = ({ layers, keyHeads }: HybridConfig, isAttention: (layer: number) => boolean): GgufValue => [
  'i32[]',
  Array.from({ length: layers }, (_, layer) => (isAttention(layer) ? keyHeads : 0)),
];

type Turned = (heads: (config: HybridConfig) => number) => Pick<Named<HybridConfig>, 'change'>;

/** The projections of attention. */
const attentionTensors = (turned: Turned): Names<HybridConfig> => {
  const [q, k] = [turned(({ queryHeads }) => queryHeads), turned(({ keyHeads }) => keyHeads)];
  return {
    'self_attn.q_proj.weight': matrix('attn_q.weight', q),
    'self_attn.q_proj.bias': vector('attn_q.bias', q),
    'self_attn.k_proj.weight': matrix('attn_k.weight', k),
    'self_attn.k_proj.bias': vector('attn_k.bias', k),
    'self_attn.v_proj.weight': matrix('attn_v.weight'),
    'self_attn.v_proj.bias': vector('attn_v.bias'),
    'self_attn.o_proj.weight': matrix('attn_output.weight'),
    'self_attn.o_proj.bias': vector('attn_output.bias'),
  };
};
const asTheyAre: Turned = () => ({});
/** Of each head, the rows i and i + p/2 become neighbours. */
const neighbours: Turned = heads => ({
  change(data, config) {
    const p = config.attentionDim;
    const width = data.length / (heads(config) * p);
    const changed = new Float32Array(data.length);
    for (let row = 0; row < heads(config) * p; row++) {
      const [head, i] = [row - (row % p), row % p];
      const from = head + (i % 2) * (p / 2) + (i >> 1);
      changed.set(data.subarray(from * width, (from + 1) * width), row * width);
    }
    return changed;
  },
});

const half = (index: number): Pick<Named<HybridConfig>, 'axes' | 'change'> => ({
  axes: (_, [rows, ...rest]) => [rows / 2, ...rest],
  change: data => data.subarray((index * data.length) / 2, ((index + 1) * data.length) / 2),
});

const MLP: Names<HybridConfig> = {
  'feed_forward.gate_proj.weight': matrix('ffn_gate.weight'),
  'feed_forward.gate_proj.bias': vector('ffn_gate.bias'),
  'feed_forward.up_proj.weight': matrix('ffn_up.weight'),
  'feed_forward.up_proj.bias': vector('ffn_up.bias'),
  'feed_forward.down_proj.weight': matrix('ffn_down.weight'),
  'feed_forward.down_proj.bias': vector('ffn_down.bias'),
};
const EMBEDDING = 'model.embed_tokens.weight';

export const graniteFamily: Family<GraniteHybridConfig> = {
  arch: ({ mixers }) => (mixers.includes('mamba') ? 'granitehybrid' : 'granite'),
  check(config, where) {
    if (!config.mixers.includes('mamba')) return;
    checkMamba2(config, where, 'mamba_proj_bias');
    if (config.groups > 1)
      throw new RangeError(
        `${where}: mamba_n_groups expected 1 (llama.cpp's norm behind the gate has a mean for each group, Granite's has one); got ${config.groups}`,
      );
  },
  keys: config => ({
    ...hybridKeys(
      config,
      config.mixers.includes('mamba')
        ? inLayers(config, layer => config.mixers[layer] === 'attention')
        : u32(config.keyHeads),
    ),
    'attention.scale': f32(config.attentionScale),
    embedding_scale: f32(config.embeddingMultiplier),
    residual_scale: f32(1),
    logit_scale: f32(1),
    'rope.scaling.finetuned': ['bool', config.ropeTheta !== undefined],
    ...(config.mixers.includes('mamba') && mamba2Keys(config)),
  }),
  plain: config => ({ ...config, embeddingMultiplier: 1 }),
  layers: 'model.layers',
  outer: {
    [EMBEDDING]: matrix('token_embd.weight'),
    'model.norm.weight': vector('output_norm.weight'),
    'lm_head.weight': matrix('output.weight'),
  },
  inLayer: {
    'input_layernorm.weight': vector('attn_norm.weight'),
    ...mamba2Tensors('mamba.'),
    ...attentionTensors(neighbours),
    'post_attention_layernorm.weight': vector('ffn_norm.weight'),
    'shared_mlp.input_linear.weight': [matrix('ffn_gate.weight', half(0)), matrix('ffn_up.weight', half(1))],
    'shared_mlp.output_linear.weight': matrix('ffn_down.weight'),
  },
};

export const falconH1Family: Family<FalconH1Config> = {
  arch: () => 'falcon-h1',
  check(config, where) {
    checkMamba2(config, where, 'mamba_proj_bias and projectors_bias');
    if (config.attentionBias)
      throw new RangeError(
        `${where}: attention_bias expected false (llama.cpp's Falcon-H1 has no bias in o_proj); got true`,
      );
  },
  keys: config => ({ ...hybridKeys(config, u32(config.keyHeads)), ...mamba2Keys(config) }),
  plain: config => ({ ...config, embeddingMultiplier: 1 }),
  layers: 'model.layers',
  outer: {
    [EMBEDDING]: [
      matrix('token_embd.weight', {
        change: (data, { embeddingMultiplier: e }) => (e === 1 ? data : data.map(x => e * x)),
      }),
      matrix('output.weight', {
        when: ({ tieEmbeddings, embeddingMultiplier: e }) => tieEmbeddings && e !== 1,
      }),
    ],
    'model.final_layernorm.weight': vector('output_norm.weight'),
    'lm_head.weight': matrix('output.weight'),
  },
  inLayer: {
    'input_layernorm.weight': vector('attn_norm.weight'),
    ...mamba2Tensors('mamba.'),
    ...attentionTensors(asTheyAre),
    'pre_ff_layernorm.weight': vector('ffn_norm'), // as llama.cpp's own converter calls it
    ...MLP,
  },
};

export const jambaFamily: Family<JambaConfig> = {
  arch: () => 'jamba',
  check(config, where) {
    checkMamba(config, where, 'mamba_proj_bias');
    if (config.queryHeads * config.attentionDim !== config.dModel)
      throw new RangeError(
        `${where}: head_dim expected ${config.dModel / config.queryHeads}, all that llama.cpp's Jamba runs; got ${config.attentionDim}`,
      );
  },
  keys: config => ({
    ...hybridKeys(
      config,
      inLayers(config, layer => layer % config.attentionPeriod === config.attentionOffset),
    ),
    ...mambaKeys(config),
  }),
  layers: 'model.layers',
  outer: {
    [EMBEDDING]: matrix('token_embd.weight'),
    'model.final_layernorm.weight': vector('output_norm.weight'),
    'lm_head.weight': matrix('output.weight'),
  },
  inLayer: {
    'input_layernorm.weight': vector('attn_norm.weight'),
    ...mambaTensors('mamba.'),
    ...attentionTensors(asTheyAre),
    'pre_ff_layernorm.weight': vector('ffn_norm.weight'),
    ...MLP,
  },
};
