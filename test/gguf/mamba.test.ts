/** Mamba as llama.cpp has it: names, shapes, values, the vocabulary, and what cannot be said there. */
import { describe, expect, it } from 'vitest';
import { type Gguf, writeGguf } from '../../src/gguf/file.ts';
import { ggufOf, type Storage } from '../../src/gguf/model.ts';
import { placeholderVocabulary, vocabularyOf } from '../../src/gguf/vocabulary.ts';
import type { Config } from '../../src/model/architecture.ts';
import { graphOf } from '../../src/model/index.ts';
import type { MambaConfig } from '../../src/model/mamba.ts';
import type { Mamba2Config } from '../../src/model/mamba2.ts';
import { randomModel } from '../../src/random/model.ts';
import { shapes } from '../../src/random/shapes.ts';
import { zeros } from '../../src/tensor.ts';
import { byteTokenizer } from '../cli/toy.ts';
import { concat, thrown } from '../formats/file.ts';
import { type Toy, toy, toys } from '../toy.ts';
import { readGguf, valuesOf } from './reader.ts';

const [, falcon, twenty] = toys;
type Model = Pick<Toy, 'program'> & { readonly config: Config };
const exported = ({ config, program }: Model, stored: Storage = 'f32') =>
  readGguf(concat(writeGguf(ggufOf(config, program.weights, stored, 'toy'))));
const weight = (of: Model, name: string) => [...of.program.weights.read(`backbone.${name}`).data];

/** m = 8, h = 4 heads of 4, g = 2, n = 8, v = 32 */
const config2: Mamba2Config = {
  ...{ ...shapes['mamba2-130m'], layers: 1, dModel: 8, vocabSize: 32 },
  ...{ heads: 4, headDim: 4, groups: 2, dState: 8 },
};
const mamba2: Model = { config: config2, program: randomModel(config2, 1) };

describe('the tensors', () => {
  it('have the names and shapes of a Mamba of two layers', () => {
    // m = 24, d = 48, n = 4, k = 4, r = 2, v = 32
    const block = (i: number) => ({
      [`blk.${i}.attn_norm.weight`]: [24],
      [`blk.${i}.ssm_in.weight`]: [24, 96],
      [`blk.${i}.ssm_conv1d.weight`]: [4, 48],
      [`blk.${i}.ssm_conv1d.bias`]: [48],
      [`blk.${i}.ssm_x.weight`]: [48, 10],
      [`blk.${i}.ssm_dt.weight`]: [2, 48],
      [`blk.${i}.ssm_dt.bias`]: [48],
      [`blk.${i}.ssm_a`]: [4, 48],
      [`blk.${i}.ssm_d`]: [48],
      [`blk.${i}.ssm_out.weight`]: [48, 24],
    });
    const found = [...exported(toy).tensors].map(([name, { extents }]) => [name, extents]);
    expect(Object.fromEntries(found)).toEqual({
      'token_embd.weight': [24, 32],
      'output_norm.weight': [24],
      ...block(0),
      ...block(1),
    });
  });

  it('hold the weights, and −exp(A_log) for A', () => {
    const { tensors } = exported(toy);
    const values = (name: string) => valuesOf(tensors.get(name)!);
    const same: Record<string, string> = {
      'token_embd.weight': 'embeddings.weight',
      'output_norm.weight': 'norm_f.weight',
      'blk.1.attn_norm.weight': 'layers.1.norm.weight',
      'blk.1.ssm_in.weight': 'layers.1.mixer.in_proj.weight',
      'blk.1.ssm_conv1d.weight': 'layers.1.mixer.conv1d.weight',
      'blk.1.ssm_conv1d.bias': 'layers.1.mixer.conv1d.bias',
      'blk.1.ssm_x.weight': 'layers.1.mixer.x_proj.weight',
      'blk.1.ssm_dt.weight': 'layers.1.mixer.dt_proj.weight',
      'blk.1.ssm_dt.bias': 'layers.1.mixer.dt_proj.bias',
      'blk.1.ssm_d': 'layers.1.mixer.D',
      'blk.1.ssm_out.weight': 'layers.1.mixer.out_proj.weight',
    };
    for (const [theirs, ours] of Object.entries(same))
      expect(values(theirs), theirs).toEqual(weight(toy, ours));
    const A = values('blk.0.ssm_a');
    for (const [i, log] of weight(toy, 'layers.0.mixer.A_log').entries())
      expect(Math.abs(A[i] + Math.exp(log))).toBeLessThanOrEqual(Math.exp(log) * 2 ** -22);
  });

  it('are those of a Mamba-2: heads in the place of ranks, D and the gated norm with two axes', () => {
    const { tensors } = exported(mamba2);
    const found = [...tensors].map(([name, { extents }]) => [name, extents]);
    expect(Object.fromEntries(found)).toEqual({
      'token_embd.weight': [8, 32],
      'blk.0.attn_norm.weight': [8],
      'blk.0.ssm_in.weight': [8, 68],
      'blk.0.ssm_conv1d.weight': [4, 48],
      'blk.0.ssm_conv1d.bias': [48],
      'blk.0.ssm_dt.bias': [4],
      'blk.0.ssm_a': [1, 4],
      'blk.0.ssm_d': [1, 4],
      'blk.0.ssm_norm.weight': [8, 2],
      'blk.0.ssm_out.weight': [16, 8],
      'output_norm.weight': [8],
    });
    for (const [theirs, ours] of Object.entries({
      'ssm_in.weight': 'in_proj.weight',
      'ssm_dt.bias': 'dt_bias',
      ssm_d: 'D',
      'ssm_norm.weight': 'norm.weight',
    }))
      expect(valuesOf(tensors.get(`blk.0.${theirs}`)!)).toEqual(weight(mamba2, `layers.0.mixer.${ours}`));
    const A = valuesOf(tensors.get('blk.0.ssm_a')!);
    for (const [i, log] of weight(mamba2, 'layers.0.mixer.A_log').entries())
      expect(A[i]).toBeCloseTo(-Math.exp(log), 5);
  });

  it.each<[number, Config]>([
    [40, { ...twenty.config, useBias: false } as MambaConfig],
    [48, { ...config2, useConvBias: false } as Mamba2Config],
  ])('have a bias of %i zeros for a convolution without one', (channels, config) => {
    const { tensors } = exported(ofZeros(config));
    expect(valuesOf(tensors.get('blk.0.ssm_conv1d.bias')!)).toEqual(Array(channels).fill(0));
  });

  it('have the head where it is not the embedding', () => {
    const head = exported(falcon).tensors.get('output.weight')!;
    expect(valuesOf(head)).toEqual([...falcon.program.weights.read('lm_head.weight').data]);
    expect(exported(toy).tensors.has('output.weight')).toBe(false);
  });

  it("scale x_proj so that the one epsilon of llama.cpp's norms is Falcon-Mamba's second", () => {
    const { metadata, tensors } = exported(falcon);
    const eps = metadata.get('mamba.attention.layer_norm_rms_epsilon')![1] as number;
    const scaled = valuesOf(tensors.get('blk.0.ssm_x.weight')!);
    const norm = (x: readonly number[], e: number) => {
      const root = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + e);
      return x.map(v => v / root);
    };
    // small values, where the epsilons differ
    const theirs = norm(
      scaled.slice(0, 48).map(v => v * 1e-3),
      eps,
    );
    const ours = norm(
      weight(falcon, 'layers.0.mixer.x_proj.weight')
        .slice(0, 48)
        .map(v => v * 1e-3),
      1e-6,
    );
    for (const [i, v] of ours.entries()) expect(theirs[i]).toBeCloseTo(v, 6);
  });

  const storedAs = (stored: Storage, config: MambaConfig) => {
    const read = exported(ofZeros(config), stored);
    return Object.fromEntries([...read.tensors].map(([name, { type }]) => [name, type]));
  };
  const wide: MambaConfig = { ...toy.config, layers: 1, dModel: 32, dInner: 64, dtRank: 3 };

  it('are stored as asked where they are matrices of whole blocks, and else as F32', () => {
    const [F32, F16, Q8_0] = [0, 1, 8];
    const table = (matrix: number, dt: number) => ({
      'token_embd.weight': matrix,
      'output_norm.weight': F32,
      'blk.0.attn_norm.weight': F32,
      'blk.0.ssm_in.weight': matrix,
      'blk.0.ssm_conv1d.weight': F32,
      'blk.0.ssm_conv1d.bias': F32,
      'blk.0.ssm_x.weight': matrix,
      'blk.0.ssm_dt.weight': dt,
      'blk.0.ssm_dt.bias': F32,
      'blk.0.ssm_a': F32,
      'blk.0.ssm_d': F32,
      'blk.0.ssm_out.weight': matrix,
    });
    expect(storedAs('f32', wide)).toEqual(table(F32, F32));
    expect(storedAs('f16', wide)).toEqual(table(F16, F16));
    expect(storedAs('q8_0', wide)).toEqual(table(Q8_0, F32));
    expect(storedAs('q8_0', { ...wide, dtRank: 32 })).toEqual(table(Q8_0, Q8_0));
  });
});

/** A model of a shape, with zeros for weights. */
function ofZeros(config: Config): Model {
  const graph = graphOf(config);
  const read = (ref: string) => zeros('f32', graph.weights.get(ref)!.shape);
  return { config, program: { graph, weights: { has: () => true, read } } };
}

describe('the keys', () => {
  const plain = (gguf: { metadata: ReadonlyMap<string, readonly [unknown, unknown]> }) =>
    Object.fromEntries([...gguf.metadata].map(([key, [, value]]) => [key, value]));

  it('say the sizes', () =>
    expect(plain(exported(toy, 'q8_0'))).toEqual({
      'general.architecture': 'mamba',
      'general.name': 'toy',
      'general.file_type': 7,
      'general.quantization_version': 2,
      'mamba.vocab_size': 32,
      'mamba.context_length': 1048576,
      'mamba.embedding_length': 24,
      'mamba.block_count': 2,
      'mamba.feed_forward_length': 0,
      'mamba.attention.head_count': 0,
      'mamba.attention.layer_norm_rms_epsilon': Math.fround(1e-5),
      'mamba.ssm.conv_kernel': 4,
      'mamba.ssm.inner_size': 48,
      'mamba.ssm.state_size': 4,
      'mamba.ssm.time_step_rank': 2,
      'mamba.ssm.dt_b_c_rms': false,
    }));

  it("say Mamba-2's", () =>
    expect(plain(exported(mamba2))).toEqual({
      'general.architecture': 'mamba2',
      'general.name': 'toy',
      'general.file_type': 0,
      'general.quantization_version': 2,
      'mamba2.vocab_size': 32,
      'mamba2.context_length': 1048576,
      'mamba2.embedding_length': 8,
      'mamba2.block_count': 1,
      'mamba2.feed_forward_length': 0,
      'mamba2.attention.head_count': 0,
      'mamba2.attention.layer_norm_rms_epsilon': Math.fround(1e-5),
      'mamba2.ssm.conv_kernel': 4,
      'mamba2.ssm.inner_size': 16,
      'mamba2.ssm.state_size': 8,
      'mamba2.ssm.time_step_rank': 4,
      'mamba2.ssm.group_count': 2,
    }));

  it('say that Falcon-Mamba has norms on dt, B and C', () =>
    expect(plain(exported(falcon))['mamba.ssm.dt_b_c_rms']).toBe(true));
});

describe('what llama.cpp cannot run is refused', () => {
  it.each<[string, Partial<MambaConfig & Mamba2Config>, Config?]>([
    ['toy/config.json: d_inner expected 2 · d_model = 48, all that llama.cpp runs; got 72', { dInner: 72 }],
    [
      "toy/config.json: time_step_limit expected none (llama.cpp's Mamba-2 does not limit dt); got [0, 0.5]",
      { dtHi: 0.5 },
      config2,
    ],
    [
      'toy/config.json: architecture expected mamba or falcon-mamba or mamba2 or granite-hybrid or falcon-h1 or jamba; got other',
      { architecture: 'other' },
    ],
    [
      "toy/config.json: use_bias expected false (llama.cpp's Mamba has no biases in in_proj and out_proj); got true",
      { useBias: true },
    ],
  ])('%s', (sentence, changes, config = toy.config) => {
    const refused = () =>
      ggufOf({ ...config, ...changes }, toy.program.weights, 'f32', 'toy', 'toy/config.json');
    expect(thrown(refused).message).toBe(sentence);
  });
});

describe('the vocabulary', () => {
  const FILE = 'toy/tokenizer.json';
  const bytes = byteTokenizer();
  const keysOf = (json: object, rows = 260) => vocabularyOf(json, FILE, { rows, eosTokenId: 256 });
  const list = (keys: Gguf['metadata'], key: string) => keys[`tokenizer.ggml.${key}`][1] as unknown[];

  it('has every token under its id, and placeholders up to the rows of the embedding', () => {
    const keys = keysOf({
      ...bytes,
      added_tokens: [...(bytes.added_tokens as []), { id: 257, content: '  ' }],
    });
    const tokens = list(keys, 'tokens');
    expect(tokens).toHaveLength(260);
    expect([tokens[0x20], tokens[0x41], tokens[0xff]]).toEqual(['Ġ', 'A', 'ÿ']);
    expect(tokens.slice(256)).toEqual(['<|endoftext|>', '  ', '[PAD258]', '[PAD259]']);
    expect(list(keys, 'token_type').slice(255)).toEqual([1, 3, 4, 5, 5]);
    expect(new Set(tokens).size).toBe(260);
    for (const id of ['bos', 'eos', 'unknown'])
      expect(keys[`tokenizer.ggml.${id}_token_id`]).toEqual(['u32', 256]);
    expect(keys['tokenizer.ggml.model']).toEqual(['string', 'gpt2']);
    expect(keys['tokenizer.ggml.pre']).toEqual(['string', 'gpt-2']);
  });

  it('takes merges as texts or as pairs', () => {
    const model = bytes.model as object;
    const merges = (written: unknown[]) =>
      list(keysOf({ ...bytes, model: { ...model, merges: written } }), 'merges');
    expect(merges(['Ġ t', 'h e'])).toEqual(['Ġ t', 'h e']);
    expect(merges([['Ġ', 't']])).toEqual(['Ġ t']);
  });

  it('names the way in which Falcon cuts a text', () => {
    const pretokenizers = [
      { type: 'Punctuation', behavior: 'Contiguous' },
      { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      { type: 'Digits', individual_digits: false },
      { type: 'Split', pattern: { Regex: '[0-9][0-9][0-9]' }, behavior: 'Isolated', invert: false },
    ];
    const keys = keysOf({ ...bytes, pre_tokenizer: { type: 'Sequence', pretokenizers } });
    expect(keys['tokenizer.ggml.pre']).toEqual(['string', 'falcon']);
  });

  it.each<[string, object]>([
    ['ByteLevel use_regex=false', { type: 'ByteLevel', use_regex: false }],
    ['ByteLevel add_prefix_space=true', { type: 'ByteLevel', add_prefix_space: true }],
    [
      'Digits individual_digits=true, ByteLevel',
      {
        type: 'Sequence',
        pretokenizers: [{ type: 'Digits', individual_digits: true }, { type: 'ByteLevel' }],
      },
    ],
    [
      'Punctuation, ByteLevel, Digits, Split [0-9]',
      {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Punctuation' },
          { type: 'ByteLevel' },
          { type: 'Digits' },
          { type: 'Split', pattern: { Regex: '[0-9]' } },
        ],
      },
    ],
  ])('refuses the cut of %s', (words, pre_tokenizer) =>
    expect(thrown(() => keysOf({ ...bytes, pre_tokenizer })).message).toBe(
      'toy/tokenizer.json: pre_tokenizer expected one that llama.cpp has ' +
        `(gpt-2, falcon, dbrx); got ${words}`,
    ),
  );

  it('refuses more ids than the model has rows', () =>
    expect(thrown(() => keysOf(bytes, 200)).message).toMatch(
      /^toy\/tokenizer.json: token ".+" has id \d+; the model's embedding has 200 rows$/,
    ));

  it('of a model without a tokenizer spells id 17 as [17]', () => {
    const keys = placeholderVocabulary({ rows: 300, eosTokenId: 0 });
    expect(list(keys, 'tokens')[17]).toBe('[17]');
    expect(list(keys, 'token_type')).toEqual(Array(300).fill(4));
    expect(list(keys, 'merges')).toEqual([]);
  });
});
