import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { folderOf } from '../../src/formats/bytes.ts';
import { openFolder } from '../../src/formats/disk.ts';
import { parseJsonText, readJson, show } from '../../src/formats/json.ts';
import { openWeights } from '../../src/formats/weights.ts';
import { checkWeights } from '../../src/model/check-weights.ts';
import { graphOf, parseConfig } from '../../src/model/index.ts';
import { type MambaConfig, mamba } from '../../src/model/mamba.ts';
import type { Mamba2Config } from '../../src/model/mamba2.ts';
import { openFloatModel } from '../../src/open/float.ts';
import { thrown, zerosFile } from '../formats/file.ts';

const hf = {
  model_type: 'mamba',
  ...{
    hidden_size: 768,
    d_model: 768,
    intermediate_size: 1536,
    d_inner: 1536,
    num_hidden_layers: 24,
    n_layer: 24,
  },
  ...{ state_size: 16, conv_kernel: 4, expand: 2, time_step_rank: 48, use_bias: false, use_conv_bias: true },
  ...{
    hidden_act: 'silu',
    layer_norm_epsilon: 1e-5,
    rms_norm: true,
    residual_in_fp32: true,
    eos_token_id: 0,
  },
  ...{ pad_vocab_size_multiple: 8, vocab_size: 50280 },
};
const stateSpaces = {
  ...{ d_model: 2560, n_layer: 64, vocab_size: 50277, ssm_cfg: {}, rms_norm: true, residual_in_fp32: true },
  ...{ fused_add_norm: true, pad_vocab_size_multiple: 8 },
};
const falcon = {
  ...{
    model_type: 'falcon_mamba',
    hidden_size: 4096,
    intermediate_size: 8192,
    expand: 16,
    num_hidden_layers: 64,
  },
  ...{
    state_size: 16,
    time_step_rank: 256,
    tie_word_embeddings: false,
    vocab_size: 65024,
    mixer_rms_eps: 1e-5,
  },
  eos_token_id: [11, 12],
};
/** The keys of Mamba-2's conversions, of 130m's sizes. */
const hf2 = {
  ...{ model_type: 'mamba2', hidden_size: 768, num_hidden_layers: 24, num_heads: 24, head_dim: 64 },
  ...{ state_size: 128, n_groups: 1, expand: 2, conv_kernel: 4, chunk_size: 256, time_step_rank: 48 },
  ...{ use_bias: false, use_conv_bias: true, hidden_act: 'silu', layer_norm_epsilon: 1e-5, rms_norm: true },
  ...{ residual_in_fp32: true, rescale_prenorm_residual: false, use_cache: true, initializer_range: 0.1 },
  ...{ time_step_min: 0.001, time_step_max: 0.1, time_step_floor: 0.0001, time_step_limit: [0, Infinity] },
  ...{ tie_word_embeddings: true, vocab_size: 50288, pad_token_id: 0, bos_token_id: 0, eos_token_id: 0 },
};
/** Those of state-spaces/mamba2-2.7b. */
const stateSpaces2 = {
  ...{ d_model: 2560, d_intermediate: 0, n_layer: 64, vocab_size: 50277, ssm_cfg: { layer: 'Mamba2' } },
  ...{ attn_layer_idx: [], attn_cfg: {}, rms_norm: true, residual_in_fp32: true, fused_add_norm: true },
  ...{ pad_vocab_size_multiple: 16, tie_embeddings: true },
};
const parse = (json: unknown) => parseConfig(json, 'config.json') as MambaConfig;
const parse2 = (json: unknown) => parseConfig(json, 'config.json') as Mamba2Config;
const parseText2 = (text: string) => parse2(parseJsonText(text, 'config.json'));

const SIZES = [
  ...(['layers', 'dModel', 'dState', 'dConv', 'vocabSize'] as const),
  ...(['dInner', 'dtRank', 'heads', 'headDim', 'groups'] as const),
];
/** Sizes that do not fit each other. */
const OF_CHANNELS = /^config\.json: (?:head_dim|num_heads) expected .*\(expand · hidden_size\)/;

describe('parseConfig', () => {
  const common = { dState: 16, dConv: 4, normEps: 1e-5, useBias: false, useConvBias: true };
  it.each<[string, unknown, MambaConfig]>([
    [
      'mamba-130m-hf',
      hf,
      {
        ...common,
        ...{ architecture: 'mamba', layers: 24, dModel: 768, dInner: 1536, dtRank: 48, vocabSize: 50280 },
        ...{ tieEmbeddings: true, naming: 'hf', eosTokenId: 0 },
      },
    ],
    [
      'mamba-2.8b of state-spaces',
      stateSpaces,
      {
        ...common,
        ...{ architecture: 'mamba', layers: 64, dModel: 2560, dInner: 5120, dtRank: 160, vocabSize: 50280 },
        ...{ tieEmbeddings: true, naming: 'state-spaces' },
      },
    ],
    [
      'falcon-mamba-7b, whose expand is wrong',
      falcon,
      {
        ...common,
        ...{
          architecture: 'falcon-mamba',
          layers: 64,
          dModel: 4096,
          dInner: 8192,
          dtRank: 256,
          vocabSize: 65024,
        },
        ...{ tieEmbeddings: false, naming: 'hf', eosTokenId: [11, 12], mixerNormEps: 1e-5 },
      },
    ],
  ])('%s', (_, json, config) => expect(parse(json)).toEqual(config));

  const common2 = { ...common, architecture: 'mamba2', headDim: 64, dState: 128, groups: 1 };
  it.each<[string, unknown, Mamba2Config]>([
    [
      'mamba2-130m as transformers has it',
      hf2,
      {
        ...common2,
        ...{ layers: 24, dModel: 768, heads: 24, vocabSize: 50288 },
        ...{ tieEmbeddings: true, naming: 'hf', eosTokenId: 0 },
      },
    ],
    [
      'mamba2-2.7b of state-spaces',
      stateSpaces2,
      {
        ...common2,
        ...{ layers: 64, dModel: 2560, heads: 80, vocabSize: 50288 },
        ...{ tieEmbeddings: true, naming: 'state-spaces' },
      },
    ],
    [
      "Mamba-Codestral-7B, whose sizes are the class's, and whose norm_before_gate nobody reads",
      {
        ...{ model_type: 'mamba2', hidden_size: 4096, num_hidden_layers: 64, vocab_size: 32768 },
        ...{ norm_before_gate: true, intermediate_size: 8192, eos_token_id: 2, time_step_rank: 'auto' },
      },
      {
        ...common2,
        ...{ groups: 8, layers: 64, dModel: 4096, heads: 128, vocabSize: 32768 },
        ...{ tieEmbeddings: false, naming: 'hf', eosTokenId: 2 },
      },
    ],
  ])('%s', (_, json, config) => expect(parse(json)).toEqual(config));

  it("reads Mamba-2's sizes inside ssm_cfg", () => {
    const ssm_cfg = {
      ...{ layer: 'Mamba2', d_state: 64, d_conv: 3, expand: 1, headdim: 32, ngroups: 2 },
      ...{ bias: true, conv_bias: false, dt_limit: [0.01, 0.5], rmsnorm: true, norm_before_gate: false },
    };
    expect(parse2({ ...stateSpaces2, ssm_cfg })).toMatchObject({
      ...{ dState: 64, dConv: 3, heads: 80, headDim: 32, groups: 2, useBias: true, useConvBias: false },
      ...{ dtLo: 0.01, dtHi: 0.5 },
    });
  });

  it.each([
    ['[0.0, Infinity]', {}],
    ['[0.0, {"__float__": "Infinity"}]', {}],
    ['[0.0, 1e999]', {}],
    ['null', {}],
    ['[0.0, 1e20]', {}],
    ['[0.001, 100]', { dtLo: 0.001, dtHi: 100 }],
  ])('time_step_limit %s', (limit, limits) => {
    const { time_step_limit: _, ...rest } = hf2;
    const text = JSON.stringify(rest).replace(/}$/, `, "time_step_limit": ${limit}}`);
    expect(parseText2(text)).toEqual({ ...parse2(rest), ...limits });
  });

  it('takes the class defaults for what is absent or null', () => {
    const { model_type, hidden_size, num_hidden_layers, vocab_size } = hf;
    const least = { model_type, hidden_size, num_hidden_layers, vocab_size };
    const { eosTokenId, ...all } = parse(hf);
    expect(parse(least)).toEqual(all);
    expect(parse({ ...least, intermediate_size: null, time_step_rank: 'auto', eos_token_id: null })).toEqual(
      all,
    );
    expect(parse({ ...falcon, mixer_rms_eps: undefined }).mixerNormEps).toBe(1e-6);
  });

  it('gives the fields in the order that the identities on disks have', () => {
    expect(Object.keys(parse({ ...hf, eos_token_id: 0 })).join(' ')).toBe(
      'architecture layers dModel dInner dState dConv dtRank vocabSize normEps tieEmbeddings useBias useConvBias naming eosTokenId',
    );
  });

  it('has the token that ends a text, or all of a list', () => {
    const ends = (eos_token_id: unknown) => parse({ ...hf, eos_token_id }).eosTokenId;
    expect([ends(5), ends([5]), ends([5, 7]), ends([]), ends(null)]).toEqual([
      5,
      5,
      [5, 7],
      undefined,
      undefined,
    ]);
  });

  it('takes int(expand · width), and only where no size is given', () => {
    const { intermediate_size: _, d_inner: __, ...open } = hf;
    expect(parse({ ...open, expand: 1.5 }).dInner).toBe(1152);
    expect(parse({ ...open, hidden_size: 101, expand: 1.5 }).dInner).toBe(151);
    for (const expand of [1.5, 16, 'x', Number.POSITIVE_INFINITY])
      expect(parse({ ...hf, expand }).dInner).toBe(hf.intermediate_size);
    for (const expand of ['x', 0, -1, 1e-9, 1e9, Number.NaN])
      expect(() => parse({ ...open, expand })).toThrow(
        `config.json: expand expected a number that, times 768, is 1 … 16777216; got ${JSON.stringify(expand) === 'null' ? expand : JSON.stringify(expand)}`,
      );
  });

  it('reads the sizes inside ssm_cfg, and pads the vocabulary of state-spaces', () => {
    const ssm_cfg = {
      layer: 'Mamba1',
      d_state: 32,
      d_conv: 3,
      expand: 3,
      dt_rank: 7,
      conv_bias: false,
      bias: true,
    };
    expect(parse({ ...stateSpaces, ssm_cfg, pad_vocab_size_multiple: 16 })).toMatchObject({
      ...{
        dState: 32,
        dConv: 3,
        dInner: 7680,
        dtRank: 7,
        useConvBias: false,
        useBias: true,
        vocabSize: 50288,
      },
    });
    expect(parse({ ...stateSpaces, d_model: 100, ssm_cfg: { dt_rank: 'auto' } }).dtRank).toBe(7);
    expect(parse({ ...hf, vocab_size: 50277 }).vocabSize).toBe(50277);
  });

  it('Hugging Face keys come before their duplicates', () => {
    const other = { ...hf, d_model: 1, d_inner: 1, n_layer: 1 };
    expect(parse(other)).toEqual(parse(hf));
  });

  it.each<[unknown, string]>([
    [null, 'config.json: expected a JSON object; got null'],
    [[hf], 'config.json: expected a JSON object; got [an object]'],
    [
      {},
      'config.json: model_type expected "mamba" or "falcon_mamba" or "mamba2" or "granitemoehybrid" or "falcon_h1" or "jamba"; got nothing',
    ],
    [
      { ...hf, model_type: 'llama' },
      'config.json: model_type expected "mamba" or "falcon_mamba" or "mamba2" or "granitemoehybrid" or "falcon_h1" or "jamba"; got "llama"',
    ],
    [{ ...hf, hidden_size: 'x' }, 'config.json: hidden_size expected a positive integer; got "x"'],
    [{ ...hf, hidden_size: 768.5 }, 'config.json: hidden_size expected a positive integer; got 768.5'],
    [{ ...hf, num_hidden_layers: 0 }, 'config.json: num_hidden_layers expected a positive integer; got 0'],
    [{ ...hf, num_hidden_layers: 1e6 }, 'config.json: num_hidden_layers expected at most 4096; got 1000000'],
    [{ ...hf, state_size: -16 }, 'config.json: state_size expected a positive integer; got -16'],
    [{ ...hf, vocab_size: 1e15 }, 'config.json: vocab_size expected at most 16777216; got 1000000000000000'],
    [{ ...hf, vocab_size: undefined }, 'config.json: vocab_size expected a positive integer; got nothing'],
    [
      { ...hf, time_step_rank: 'most' },
      'config.json: time_step_rank expected a positive integer; got "most"',
    ],
    [
      { ...hf, layer_norm_epsilon: 0 },
      'config.json: layer_norm_epsilon expected a number from 1.1754943508222875e-38 to 1; got 0',
    ],
    [
      { ...hf, layer_norm_epsilon: 5e-324 },
      'config.json: layer_norm_epsilon expected a number from 1.1754943508222875e-38 to 1; got 5e-324',
    ],
    [
      { ...falcon, mixer_rms_eps: 1e-40 },
      'config.json: mixer_rms_eps expected a number from 1.1754943508222875e-38 to 1; got 1e-40',
    ],
    [{ ...hf, use_bias: 'no' }, 'config.json: use_bias expected true or false; got "no"'],
    [
      { ...hf, rms_norm: false },
      'config.json: rms_norm expected true (layer norm is not supported); got false',
    ],
    [{ ...hf, hidden_act: 'gelu' }, 'config.json: hidden_act expected "silu"; got "gelu"'],
    [
      { ...hf, eos_token_id: '</s>' },
      'config.json: eos_token_id expected a token id, or an array of them; got "</s>"',
    ],
    [
      { ...stateSpaces, n_layer: undefined },
      'config.json: num_hidden_layers expected a positive integer; got nothing',
    ],
    [{ ...stateSpaces, ssm_cfg: 'x' }, 'config.json: ssm_cfg expected an object; got "x"'],
    [
      { ...stateSpaces, ssm_cfg: { layer: 'Mamba3' } },
      'config.json: ssm_cfg.layer expected "Mamba1" or "Mamba2"; got "Mamba3"',
    ],
    [
      { ...stateSpaces, ssm_cfg: { d_state: 0 } },
      'config.json: ssm_cfg.d_state expected a positive integer; got 0',
    ],
    [
      { ...stateSpaces, attn_layer_idx: [9, 18] },
      'config.json: attn_layer_idx expected [] (attention is not supported); got [9, 18]',
    ],
    [
      { ...stateSpaces, d_intermediate: 64 },
      'config.json: d_intermediate expected 0 (MLP layers are not supported); got 64',
    ],
    [
      { ...stateSpaces2, attn_layer_idx: [9, 18] },
      'config.json: attn_layer_idx expected [] (attention is not supported); got [9, 18]',
    ],
    [
      { ...hf2, num_heads: 12 },
      'config.json: num_heads expected 24, 1536 channels (expand · hidden_size) in heads of 64; got 12',
    ],
    [
      { ...hf2, head_dim: 100 },
      'config.json: head_dim expected a divisor of 1536 channels (expand · hidden_size); got 100',
    ],
    [{ ...hf2, n_groups: 5 }, 'config.json: n_groups expected a divisor of 24 heads; got 5'],
    [{ ...hf2, n_groups: 0 }, 'config.json: n_groups expected a positive integer; got 0'],
    [{ ...hf2, state_size: 6 }, 'config.json: state_size expected a multiple of 4; got 6'],
    [
      { ...hf2, rms_norm: false },
      'config.json: rms_norm expected true (layer norm is not supported); got false',
    ],
    ...[[0.1], [0.5, 0.1], [-1, 1], ['0', 1], [0, Number.NaN], [Infinity, Infinity], 5].map(
      (limit): [unknown, string] => [
        { ...hf2, time_step_limit: limit },
        `config.json: time_step_limit expected [lo, hi] with 0 <= lo <= hi, lo finite; got ${show(limit)}`,
      ],
    ),
    ...(
      [
        [
          { D_has_hdim: true },
          'ssm_cfg.D_has_hdim expected false (a D of each channel is not supported); got true',
        ],
        [
          { rmsnorm: false },
          'ssm_cfg.rmsnorm expected true (a block without a gated norm is not supported); got false',
        ],
        [{ norm_before_gate: true }, 'ssm_cfg.norm_before_gate expected false; got true'],
        [{ d_ssm: 8 }, 'ssm_cfg.d_ssm expected nothing (an MLP beside the scan is not supported); got 8'],
      ] as const
    ).map(([own, says]): [unknown, string] => [
      { ...stateSpaces2, ssm_cfg: { layer: 'Mamba2', ...own } },
      `config.json: ${says}`,
    ]),
  ])('%j', (json, message) => expect(() => parse(json)).toThrow(new RangeError(message)));

  it('any value in any field: a whole config, or a sentence that names the field', () => {
    const configs = [hf, stateSpaces, falcon, hf2, stateSpaces2];
    const fields = [...new Set(configs.flatMap(config => Object.keys(config)))];
    fc.assert(
      fc.property(
        fc.constantFrom(...configs),
        fc.constantFrom(...fields),
        fc.oneof(fc.jsonValue(), fc.integer(), fc.double(), fc.boolean()),
        (config, field, value) => {
          try {
            const parsed = parse({ ...config, [field]: value }) as MambaConfig & Mamba2Config;
            for (const size of SIZES.filter(size => size in parsed))
              expect(Number.isSafeInteger(parsed[size]) && parsed[size] > 0, size).toBe(true);
          } catch (error) {
            const named = value === null ? '' : field; // what is missing goes by its first name
            const { message } = error as Error;
            const isNamed = message.startsWith(`config.json: ${named}`) || OF_CHANNELS.test(message);
            expect(isNamed, message).toBe(true);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('checkWeights', () => {
  const small = {
    model_type: 'mamba',
    hidden_size: 4,
    num_hidden_layers: 2,
    vocab_size: 9,
    time_step_rank: 3,
  };
  const block = {
    'norm.weight': [4],
    'mixer.in_proj.weight': [16, 4],
    'mixer.conv1d.weight': [8, 1, 4],
    'mixer.conv1d.bias': [8],
    'mixer.x_proj.weight': [35, 8],
    'mixer.dt_proj.weight': [8, 3],
    'mixer.dt_proj.bias': [8],
    'mixer.A_log': [8, 16],
    'mixer.D': [8],
    'mixer.out_proj.weight': [4, 8],
  };
  const shapes: Record<string, number[]> = {
    'backbone.embeddings.weight': [9, 4],
    ...Object.fromEntries(
      [0, 1].flatMap(i =>
        Object.entries(block).map(([name, shape]) => [`backbone.layers.${i}.${name}`, shape]),
      ),
    ),
    'backbone.norm_f.weight': [4],
  };
  const check = (json: object, tensors: Record<string, number[]>, dtype: 'F32' | 'F16' | 'I8' = 'F32') =>
    checkWeights(parse(json), openWeights(folderOf('m', { 'model.safetensors': zerosFile(tensors, dtype) })));
  const withBias = {
    ...shapes,
    'backbone.layers.0.mixer.in_proj.bias': [16],
    'backbone.layers.0.mixer.out_proj.bias': [4],
    'backbone.layers.1.mixer.in_proj.bias': [16],
    'backbone.layers.1.mixer.out_proj.bias': [4],
    'lm_head.weight': [9, 4],
  };

  it('asks for exactly the tensors that the model reads', () => {
    for (const [json, tensors] of [
      [small, shapes],
      [{ ...small, use_bias: true, tie_word_embeddings: false }, withBias],
    ] as const) {
      const { config, outline, unused } = check(json, tensors);
      expect(config).toEqual(parse(json));
      expect(unused).toEqual([]);
      expect([...outline.stored.keys()].sort()).toEqual(Object.keys(tensors).sort());
    }
  });

  it('asks for those of Mamba-2, whatever was put before their names', () => {
    const json = { ...hf2, hidden_size: 4, num_heads: 2, head_dim: 4, n_groups: 2, state_size: 8 };
    const own = { 'in_proj.weight': [50, 4], 'conv1d.weight': [40, 1, 4], 'conv1d.bias': [40] };
    const heads = { dt_bias: [2], A_log: [2], D: [2] };
    const mixer = { ...own, ...heads, 'norm.weight': [8], 'out_proj.weight': [4, 8] };
    const tensors = {
      'backbone.embeddings.weight': [9, 4],
      'backbone.layers.0.norm.weight': [4],
      ...Object.fromEntries(
        Object.entries(mixer).map(([name, shape]) => [`backbone.layers.0.mixer.${name}`, shape]),
      ),
      'backbone.norm_f.weight': [4],
    };
    for (const before of ['', 'model.', 'module.']) {
      const named = Object.entries(tensors).map(([name, shape]) => [`${before}${name}`, shape]);
      const given = { ...json, num_hidden_layers: 1, vocab_size: 9 };
      const { outline, unused } = check(given, Object.fromEntries(named));
      expect(unused).toEqual([]);
      expect([...outline.graph.weights.keys()].sort()).toEqual(Object.keys(tensors).sort());
    }
  });

  it.each(['mamba-books-15m', 'mamba2-books-15m', 'granite-h-books-20m'])(
    '%s, which comes with the project, passes',
    name => {
      const folder = openFolder(fileURLToPath(new URL(`../../models/${name}`, import.meta.url)));
      const weights = openWeights(folder);
      const config = parse(readJson(folder, 'config.json'));
      expect(checkWeights(config, weights)).toMatchObject({
        config,
        outline: { graph: graphOf(config) },
        unused: [],
      });
      weights.close();
    },
  );

  it('traces the model once for all that opening and its identity ask', () => {
    const traced = vi.spyOn(mamba, 'graph');
    const model = openFloatModel(
      folderOf('m', {
        'model.safetensors': zerosFile(shapes),
        'config.json': new TextEncoder().encode(JSON.stringify(small)),
      }),
    );
    expect(model.identity()).toMatch(/^[0-9a-f]{64}$/);
    expect(traced).toHaveBeenCalledOnce();
    traced.mockRestore();
  });

  it.each(Object.keys(withBias))('refuses a model without %s, or with another shape or dtype of it', name => {
    const json = { ...small, use_bias: true, tie_word_embeddings: false };
    const { [name]: shape, ...rest } = withBias as Record<string, number[]>;
    const where = `m/model.safetensors: tensor ${name}`;
    expect(() => check(json, rest)).toThrow(`${where} is missing; the nearest of `);
    for (const wrong of [
      [...shape.slice(0, -1), shape.at(-1)! + 1],
      [...shape, 1],
      [shape[0] - 1, ...shape.slice(1)],
    ])
      expect(() => check(json, { ...rest, [name]: wrong }), `${wrong}`).toThrow(
        /^m\/model\.safetensors: tensor \S+ expected shape \[.*\] by the config; got \[.*\]$/,
      );
    const source = openWeights(folderOf('m', { 'model.safetensors': zerosFile(withBias) }));
    const { shape: stored } = source.tensors.get(name)!;
    const tensors = new Map(source.tensors).set(name, { dtype: 'I8', shape: stored });
    const integer = { ...source, tensors };
    expect(() => checkWeights(parse(json), integer)).toThrow(
      new TypeError(`${where} expected F32, F16, BF16, F64; got I8`),
    );
  });

  it('lists what is not read; a tied head is not needed and not listed', () => {
    const more = { ...shapes, 'lm_head.weight': [9, 4], 'backbone.layers.2.norm.weight': [4], x: [1] };
    expect(check(small, more, 'F16').unused).toEqual(['backbone.layers.2.norm.weight', 'x']);
  });

  it('takes the number of rows from a padded embedding of state-spaces, and only there', () => {
    const { 'backbone.embeddings.weight': _, ...rest } = shapes;
    const own = { d_model: 4, n_layer: 2, vocab_size: 9, ssm_cfg: { dt_rank: 3 } };
    const rows = (n: number) => ({ ...rest, 'backbone.embedding.weight': [n, 4] });
    expect(check(own, rows(16)).config.vocabSize).toBe(16);
    expect(check(own, rows(24)).config.vocabSize).toBe(24);
    const message = 'tensor backbone.embeddings.weight expected shape';
    expect(() => check(own, rows(15))).toThrow(`${message} [16, 4] by the config; got [15, 4]`);
    expect(() => check(small, rows(16))).toThrow(`${message} [9, 4] by the config; got [16, 4]`);
    expect(thrown(() => check(own, { ...rest, 'backbone.embedding.weight': [] }))).toBeInstanceOf(RangeError);
  });
});
