/** The hybrids as llama.cpp has them: names, keys, what goes into weights, and what cannot be said there. */
import { describe, expect, it } from 'vitest';
import { writeGguf } from '../../src/gguf/file.ts';
import { ggufOf } from '../../src/gguf/model.ts';
import type { Config } from '../../src/model/architecture.ts';
import { outlineOf, parseConfig } from '../../src/model/index.ts';
import { randomWeights } from '../../src/random/model.ts';
import { configs } from '../../src/random/shapes.ts';
import { concat, thrown } from '../formats/file.ts';
import { readGguf, valuesOf } from './reader.ts';

const small = {
  ...{
    num_hidden_layers: 2,
    hidden_size: 16,
    vocab_size: 32,
    num_attention_heads: 4,
    num_key_value_heads: 2,
  },
  ...{ mamba_n_heads: 4, mamba_d_head: 8, mamba_d_state: 8 },
};
const granite = {
  ...{ ...configs['granite-4.0-h-350m'], ...small, shared_intermediate_size: 12 },
  ...{
    layer_types: ['mamba', 'attention'],
    attention_multiplier: 0.25,
    residual_multiplier: 0.5,
    logits_scaling: 2,
  },
};
const falcon = {
  ...{ ...configs['falcon-h1-0.5b'], ...small, mamba_d_ssm: 32, head_dim: 8, intermediate_size: 12 },
  ...{ embedding_multiplier: 4, tie_word_embeddings: true },
  ...{ ssm_in_multiplier: 1.25, ssm_multipliers: [0.5, 0.25, 0.75, 2, 0.375] },
};
const jamba = {
  ...{ model_type: 'jamba', ...small, intermediate_size: 12, num_experts: 1, mamba_dt_rank: 2 },
  ...{ attn_layer_period: 2, attn_layer_offset: 1, rms_norm_eps: 1e-6 },
};

const exported = (config: Config) => {
  const weights = randomWeights(outlineOf(config), 1);
  const { metadata, tensors } = readGguf(concat(writeGguf(ggufOf(config, weights, 'f32', 'toy'))));
  return {
    names: [...tensors.keys()],
    key: (name: string) => metadata.get(name)?.[1],
    theirs: (name: string) => valuesOf(tensors.get(name)!),
    ours: (name: string) => [...weights.read(name).data],
  };
};
const times = (factor: number, values: readonly number[]) => values.map(x => Math.fround(factor * x));

describe('Granite', () => {
  const config = parseConfig(granite, 'config.json');
  const { names, key, theirs, ours } = exported(config);

  it('has the tensors of a layer of Mamba-2 and of one of attention', () => {
    const [mamba, attention] = [0, 1].map(i =>
      names.flatMap(name => (name.startsWith(`blk.${i}.`) ? [name.slice(6)] : [])),
    );
    const mlp = ['ffn_norm', 'ffn_gate', 'ffn_up', 'ffn_down'].map(name => `${name}.weight`);
    const ssm = ['ssm_conv1d.bias', 'ssm_dt.bias', 'ssm_a', 'ssm_d'];
    const ssmWeights = ['ssm_in', 'ssm_conv1d', 'ssm_norm', 'ssm_out'].map(name => `${name}.weight`);
    const attn = ['attn_q', 'attn_k', 'attn_v', 'attn_output'].map(name => `${name}.weight`);
    expect(mamba.toSorted()).toEqual(['attn_norm.weight', ...ssm, ...ssmWeights, ...mlp].toSorted());
    expect(attention.toSorted()).toEqual(['attn_norm.weight', ...attn, ...mlp].toSorted());
    expect(names).not.toContain('output.weight'); // the embedding
  });

  it('says in keys which layers have attention, its scale, and what the embedding is multiplied by', () => {
    expect(key('general.architecture')).toBe('granitehybrid');
    expect(key('granitehybrid.attention.head_count_kv')).toEqual([0, 2]);
    expect(key('granitehybrid.attention.scale')).toBe(0.25);
    expect(key('granitehybrid.embedding_scale')).toBe(12);
    expect(key('granitehybrid.rope.scaling.finetuned')).toBe(false);
    expect(key('granitehybrid.attention.layer_norm_rms_epsilon')).toBe(Math.fround(1e-5));
  });

  it('has the residual multiplier in the weights, and not the division of the stream', () => {
    const out = ours('model.layers.0.mamba.out_proj.weight');
    expect(theirs('blk.0.ssm_out.weight')).toEqual(times(0.5, out));
    expect(theirs('output_norm.weight')).toEqual(times(0.5, ours('model.norm.weight')));
    expect(theirs('token_embd.weight')).toEqual(ours('model.embed_tokens.weight'));
  });

  it('has the two halves of the MLP apart, the gate first', () => {
    const both = ours('model.layers.1.shared_mlp.input_linear.weight');
    expect([...theirs('blk.1.ffn_gate.weight'), ...theirs('blk.1.ffn_up.weight')]).toEqual(both);
  });

  it('has as neighbours the rows of a head that RoPE turns together', () => {
    const rows = (values: readonly number[]) => values.filter((_, i) => i % 16 === 0);
    const [q, k] = ['q', 'k'].map(x => rows(ours(`model.layers.1.self_attn.${x}_proj.weight`)));
    const order = [0, 2, 1, 3]; // heads of 4
    const neighbours = (x: readonly number[]) => x.map((_, i) => x[i - (i % 4) + order[i % 4]]);
    expect(rows(theirs('blk.1.attn_q.weight'))).toEqual(neighbours(q));
    expect(rows(theirs('blk.1.attn_k.weight'))).toEqual(neighbours(k));
  });

  it('is of another architecture where all layers are attention, and says that there is RoPE', () => {
    const layers = {
      layer_types: ['attention', 'attention'],
      position_embedding_type: 'rope',
      rope_theta: 1e7,
    };
    const { key } = exported(parseConfig({ ...granite, ...layers }, 'config.json'));
    expect(key('general.architecture')).toBe('granite');
    expect(key('granite.attention.head_count_kv')).toBe(2);
    expect(key('granite.rope.freq_base')).toBe(1e7);
    expect(key('granite.rope.scaling.finetuned')).toBe(true);
  });
});

describe('Falcon-H1', () => {
  const { names, key, theirs, ours } = exported(parseConfig(falcon, 'config.json'));

  it('has both mixers in every layer, and heads of their own width', () => {
    expect(names).toContain('blk.1.ssm_in.weight');
    expect(names).toContain('blk.1.attn_k.weight');
    expect(names).not.toContain('blk.0.ssm_norm.weight');
    expect(key('falcon-h1.attention.head_count_kv')).toBe(2);
    expect(key('falcon-h1.attention.key_length')).toBe(8);
  });

  it('has the multiplier of the embedding in it, and so a head of its own', () => {
    const embedding = ours('model.embed_tokens.weight');
    expect(theirs('token_embd.weight')).toEqual(times(4, embedding));
    expect(theirs('output.weight')).toEqual(embedding);
  });

  it('has the multipliers of in_proj by its five parts', () => {
    const raw = ours('model.layers.0.mamba.in_proj.weight');
    const [z, x, b, c, dt] = falcon.ssm_multipliers.map(s => s * falcon.ssm_in_multiplier);
    const ends = [32, 64, 72, 80, 84];
    const factorOf = (row: number) => [z, x, b, c, dt][ends.findIndex(end => row < end)];
    const expected = raw.map((value, i) => Math.fround(value * factorOf(Math.floor(i / 16))));
    expect(theirs('blk.0.ssm_in.weight')).toEqual(expected);
  });
});

describe('Jamba', () => {
  it('has Mamba with norms on dt, B and C, and attention where its period says so', () => {
    const { names, key } = exported(parseConfig(jamba, 'config.json'));
    expect(names).toContain('blk.0.ssm_dt_norm.weight');
    expect(names).toContain('blk.1.attn_q.weight');
    expect(names).not.toContain('blk.1.ssm_in.weight');
    expect(key('jamba.attention.head_count_kv')).toEqual([0, 2]);
    expect(key('jamba.ssm.time_step_rank')).toBe(2);
  });
});

describe('what llama.cpp cannot run is refused', () => {
  it.each([
    [{ ...granite, mamba_n_groups: 2 }, 'c: mamba_n_groups expected 1 (llama.cpp'],
    [{ ...granite, mamba_proj_bias: true }, 'c: mamba_proj_bias expected false'],
    [{ ...granite, time_step_limit: [0.001, 0.1] }, 'c: time_step_limit expected none'],
    [{ ...falcon, projectors_bias: true }, 'c: mamba_proj_bias and projectors_bias expected false'],
    [{ ...falcon, attention_bias: true }, 'c: attention_bias expected false'],
    [{ ...jamba, mamba_expand: 4 }, 'c: d_inner expected 2 · d_model = 32'],
    [{ ...jamba, head_dim: 8 }, 'c: head_dim expected 4'],
  ])('%#', (json, sentence) => {
    const config = parseConfig(json, 'config.json');
    const refused = thrown(() => ggufOf(config, randomWeights(outlineOf(config), 1), 'f32', 'toy', 'c'));
    expect(refused.message).toContain(sentence);
  });
});
