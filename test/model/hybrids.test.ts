/** config.json of the hybrids: what is read, and the sentences of what is not supported. */
import { describe, expect, it } from 'vitest';
import { folderOf } from '../../src/formats/bytes.ts';
import { parseJsonText } from '../../src/formats/json.ts';
import { openWeights } from '../../src/formats/weights.ts';
import { checkWeights } from '../../src/model/check-weights.ts';
import type { FalconH1Config } from '../../src/model/falcon-h1.ts';
import type { GraniteHybridConfig } from '../../src/model/granite-hybrid.ts';
import { graphOf, outlineOf, parseConfig } from '../../src/model/index.ts';
import type { JambaConfig } from '../../src/model/jamba.ts';
import { configs } from '../../src/random/shapes.ts';
import { zerosFile } from '../formats/file.ts';

const granite = configs['granite-4.0-h-350m'];
const falcon = configs['falcon-h1-0.5b'];
const jamba = {
  ...{ model_type: 'jamba', hidden_size: 2560, num_hidden_layers: 28, vocab_size: 65536 },
  ...{ num_attention_heads: 20, num_key_value_heads: 1, intermediate_size: 8192, num_experts: 1 },
  ...{ attn_layer_period: 14, attn_layer_offset: 7, mamba_dt_rank: 'auto', tie_word_embeddings: true },
};
const parse = (json: unknown) => parseConfig(json, 'config.json');
const parseText = (text: string) => parse(parseJsonText(text, 'config.json'));

describe('granitemoehybrid', () => {
  it('is read', () => {
    expect(parse(granite)).toMatchObject({
      ...{ architecture: 'granite-hybrid', layers: 32, dModel: 768, dMlp: 2048, tieEmbeddings: true },
      ...{ queryHeads: 12, keyHeads: 4, attentionDim: 64, attentionScale: 1 / 64, attentionBias: false },
      ...{ heads: 48, headDim: 32, dState: 128, groups: 1, normGroups: 1, eosTokenId: 100257 },
      ...{ embeddingMultiplier: 12, residualMultiplier: 0.246, logitsScaling: 3, normEps: 1e-5 },
    });
    const { mixers, ropeTheta } = parse(granite) as GraniteHybridConfig;
    expect(mixers.flatMap((mixer, layer) => (mixer === 'attention' ? layer : []))).toEqual([10, 13, 17, 27]);
    expect(ropeTheta).toBeUndefined();
  });

  it('is made for as many tokens as it says', () => {
    expect(parse({ ...granite, max_position_embeddings: 32768 }).maxPositions).toBe(32768);
    expect('maxPositions' in parse(granite)).toBe(false);
  });

  it('has the words of transformers 5 for its layers, and all Mamba-2 where there are none', () => {
    const renamed = (granite.layer_types as string[]).map(word =>
      word === 'mamba' ? 'linear_attention' : 'full_attention',
    );
    expect(parse({ ...granite, layer_types: renamed })).toEqual(parse(granite));
    const { mixers } = parse({ ...granite, layer_types: null }) as GraniteHybridConfig;
    expect(new Set(mixers)).toEqual(new Set(['mamba']));
  });

  it('has RoPE where it says so, with the base of transformers 5 or of files before it', () => {
    const theta = (own: object) =>
      (parse({ ...granite, position_embedding_type: 'rope', ...own }) as GraniteHybridConfig).ropeTheta;
    expect(theta({})).toBe(1e4);
    expect(theta({ rope_theta: 1e7, rope_scaling: null })).toBe(1e7);
    expect(theta({ rope_parameters: { rope_type: 'default', rope_theta: 1e6 }, rope_theta: 1 })).toBe(1e6);
    expect(theta({ position_embedding_type: 'nope', rope_theta: 1e7 })).toBeUndefined();
  });

  it('reads its limit of dt in all spellings of infinity', () => {
    const limits = (text: string) => {
      const json = JSON.stringify({ ...granite, time_step_limit: 'HERE' }).replace('"HERE"', text);
      const { dtLo, dtHi } = parseText(json) as GraniteHybridConfig;
      return [dtLo, dtHi];
    };
    for (const infinity of ['Infinity', '{"__float__": "Infinity"}', '1e20', 'null'])
      expect(limits(infinity === 'null' ? 'null' : `[0.0, ${infinity}]`)).toEqual([undefined, undefined]);
    expect(limits('[0.001, 0.1]')).toEqual([0.001, 0.1]);
  });

  it.each<[object, string]>([
    [
      { num_local_experts: 64 },
      'num_local_experts expected 0 (a mixture of experts is not supported: all its experts must be in memory, and those of the smallest model, 6.9 GB in int8, are more than a WebAssembly memory holds); got 64',
    ],
    [
      { layer_types: ['mamba', 'moe'] },
      'layer_types expected 32 of mamba, attention, linear_attention, full_attention; got ["mamba", "moe"]',
    ],
    [{ position_embedding_type: 'alibi' }, 'position_embedding_type expected "nope" or "rope"; got "alibi"'],
    [{ hidden_act: 'gelu' }, 'hidden_act expected "silu"; got "gelu"'],
    [{ normalization_function: 'layernorm' }, 'normalization_function expected "rmsnorm"; got "layernorm"'],
    [
      { num_key_value_heads: 5 },
      'num_key_value_heads expected a divisor of 12 heads (num_attention_heads); got 5',
    ],
    [
      { num_attention_heads: 36 },
      'num_attention_heads expected a divisor of 768 channels (hidden_size); got 36',
    ],
    [{ head_dim: 6 }, 'head_dim expected a multiple of 4; got 6'],
    [
      { mamba_d_head: 64 },
      'mamba_d_head expected 32, 1536 channels (mamba_expand · hidden_size) in 48 heads; got 64',
    ],
    [{ mamba_n_groups: 5 }, 'mamba_n_groups expected a divisor of 48 heads (mamba_n_heads); got 5'],
    [{ mamba_d_state: 6 }, 'mamba_d_state expected a multiple of 4; got 6'],
    [
      { time_step_limit: [1, 0] },
      'time_step_limit expected [lo, hi] with 0 <= lo <= hi, lo finite; got [1, 0]',
    ],
    [{ residual_multiplier: 0 }, 'residual_multiplier expected a positive number; got 0'],
    [
      { embedding_multiplier: 1e-3 },
      'embedding_multiplier expected one whose square divides rms_norm_eps 0.00001 to 1.1754943508222875e-38 … 1; got 0.001',
    ],
    [
      { position_embedding_type: 'rope', rope_scaling: { rope_type: 'yarn' } },
      'rope_scaling.rope_type expected "default" (scaled RoPE is not supported); got "yarn"',
    ],
  ])('%j', (own, says) =>
    expect(() => parse({ ...granite, ...own })).toThrow(new RangeError(`config.json: ${says}`)),
  );
});

describe('falcon_h1', () => {
  it('is read', () => {
    expect(parse(falcon)).toMatchObject({
      ...{ architecture: 'falcon-h1', attentionDim: 64, attentionScale: 0.125, ropeTheta: 1e11, dMlp: 2048 },
      ...{ heads: 24, headDim: 64, normGroups: 0, useBias: false, useOutBias: false, tieEmbeddings: false },
      ...{ keyMultiplier: 0.390625, headMultiplier: 0.0390625, attentionInMultiplier: 1 },
    });
    expect(parse({ ...falcon, mamba_rms_norm: true, mamba_n_groups: 2 })).toMatchObject({ normGroups: 2 });
    const open = { ...falcon, mamba_d_ssm: null, mamba_n_heads: 32, mamba_d_head: 'auto' };
    expect(parse(open)).toMatchObject({ heads: 32, headDim: 64 });
    const { ssm_multipliers: _, ...plain } = falcon;
    expect((parse(plain) as FalconH1Config).ssmMultipliers).toEqual([1, 1, 1, 1, 1]);
  });

  it.each<[object, string]>([
    [
      { mamba_rms_norm: true, mamba_norm_before_gate: true },
      'mamba_norm_before_gate expected false beside mamba_rms_norm true (a gate behind the norm is not supported)',
    ],
    [{ ssm_multipliers: [1, 2] }, 'ssm_multipliers expected 5 positive numbers; got [1, 2]'],
    [{ mlp_multipliers: [1, 0] }, 'mlp_multipliers expected 2 positive numbers; got [1, 0]'],
    [
      { partial_rotary_factor: 0.5 },
      'partial_rotary_factor expected 1 (RoPE on a part of the channels is not supported); got 0.5',
    ],
    [{ rope_theta: 0.5 }, 'rope_theta expected a number of at least 1; got 0.5'],
  ])('%j', (own, says) =>
    expect(() => parse({ ...falcon, ...own })).toThrow(new RangeError(`config.json: ${says}`)),
  );
});

describe('jamba', () => {
  it('is read', () => {
    expect(parse(jamba)).toMatchObject({
      ...{ architecture: 'jamba', dInner: 5120, dState: 16, dtRank: 160, mixerNormEps: 1e-6 },
      ...{ queryHeads: 20, keyHeads: 1, attentionDim: 128, attentionPeriod: 14, attentionOffset: 7 },
    });
    const { nodes } = graphOf({ ...(parse(jamba) as JambaConfig), layers: 22 });
    const attending = nodes.flatMap(node => (node.kind === 'op' ? node.out.y : []));
    expect(attending.filter(ref => ref?.endsWith('.attended'))).toEqual([
      'layers.7.attended',
      'layers.21.attended',
    ]);
  });

  it('has experts only where a layer has them', () => {
    const experts = { num_experts: 16, expert_layer_period: 40, expert_layer_offset: 30 };
    expect(parse({ ...jamba, ...experts })).toEqual(parse(jamba));
    expect(() => parse({ ...jamba, ...experts, expert_layer_offset: 27 })).toThrow(
      /^config\.json: num_experts expected 1 \(a mixture of experts is not supported: .*\); got 16$/,
    );
  });

  it('refuses a first layer beyond the period', () =>
    expect(() => parse({ ...jamba, attn_layer_offset: 14 })).toThrow(
      'config.json: attn_layer_offset expected an integer from 0 to 13, below attn_layer_period; got 14',
    ));
});

it.each(Object.entries({ granite, falcon, jamba }))(
  '%s: any value in any field gives a whole config, or a sentence that names the file',
  (_, json) => {
    const values = [
      null,
      '',
      'x',
      0,
      -1,
      0.5,
      3,
      1e9,
      1e300,
      Number.NaN,
      true,
      false,
      [],
      [0],
      {},
      ['mamba'],
    ];
    for (const key of Object.keys(json))
      for (const value of values)
        try {
          const config = parse({ ...json, [key]: value });
          expect(Number.isInteger(config.layers) && config.layers > 0).toBe(true);
        } catch (error) {
          expect(error, `${key} ${value}`).toBeInstanceOf(RangeError);
          expect((error as Error).message).toMatch(/^config\.json: \S+ expected .*; got /);
        }
  },
);

describe('a checkpoint of a hybrid', () => {
  const small = { ...falcon, hidden_size: 8, num_hidden_layers: 1, vocab_size: 9, intermediate_size: 4 };
  const json = { ...small, mamba_d_ssm: 24, mamba_d_head: 1, mamba_d_state: 4 };
  const config = parse(json);
  const shapes = Object.fromEntries(
    [...outlineOf(config).stored].map(([name, { shape }]) => [name, [...shape]]),
  );
  const open = (tensors: Record<string, number[]>) =>
    openWeights(folderOf('m', { 'model.safetensors': zerosFile(tensors) }));

  it('is read by its own names, wrapped or not, and nothing of it is left', () => {
    for (const before of ['', 'module.', 'model.', '_orig_mod.']) {
      const named = Object.entries(shapes).map(([name, shape]) => [`${before}${name}`, shape]);
      const { unused, weights } = checkWeights(config, open(Object.fromEntries(named)));
      expect(unused).toEqual([]);
      expect(weights.read('rope.freq').data[0]).toBe(1);
    }
  });

  it('is refused without a tensor, by the name in it', () => {
    const { 'model.layers.0.self_attn.k_proj.weight': _, ...rest } = shapes;
    expect(() => checkWeights(config, open(rest))).toThrow(
      'm/model.safetensors: tensor model.layers.0.self_attn.k_proj.weight is missing; the nearest of ',
    );
  });
});
