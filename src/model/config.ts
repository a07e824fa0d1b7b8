/**
 * config.json → MambaConfig: the sizes of a model, from Hugging Face's keys (`model_type: mamba | falcon_mamba`) or from
 * state-spaces' (`d_model`, `n_layer`, `ssm_cfg`). What this project cannot run is refused here, by name.
 *
 * Source  transformers MambaConfig, FalconMambaConfig · state-spaces/mamba MambaConfig: names and defaults
 */
import { isObject, type JsonObject, show } from '../formats/json.ts';
import type { WeightSource } from '../formats/weights.ts';

export interface MambaConfig {
  readonly architecture: 'mamba' | 'falcon-mamba';
  readonly layers: number;
  /** m, the width of the residual stream. */
  readonly dModel: number;
  /** d, the channels of the SSM. */
  readonly dInner: number;
  /** n, the state size of a channel. */
  readonly dState: number;
  /** k, the width of the convolution. */
  readonly dConv: number;
  /** r, the width of dt before dt_proj. */
  readonly dtRank: number;
  /** Rows of the embedding, padding included. */
  readonly vocabSize: number;
  readonly normEps: number;
  /** Whether the head is the embedding. */
  readonly tieEmbeddings: boolean;
  /** Of in_proj and out_proj. */
  readonly useBias: boolean;
  readonly useConvBias: boolean;
  /** Falcon-Mamba's norm on dt, B and C, which has no weights. */
  readonly mixerNormEps?: number;
  /** Whose keys and names the checkpoint has. */
  readonly naming: 'hf' | 'state-spaces';
  readonly eosTokenId?: number;
}

const MOST_LAYERS = 4096;
const MOST = 2 ** 24;

/**
 * @param file how errors call it.
 * @throws RangeError when a field is missing or wrong, or asks for something that is not supported.
 */
export function parseConfig(json: unknown, file: string): MambaConfig {
  if (!isObject(json)) throw new RangeError(`${file}: expected a JSON object; got ${show(json)}`);
  const { at, must, size, eps, flag } = fields(json, file);

  if (at('d_model') === undefined || at('model_type') !== undefined)
    must('model_type', '"mamba" or "falcon_mamba"', v => v === 'mamba' || v === 'falcon_mamba');
  const optional = (holds: (value: unknown) => boolean) => (value: unknown) =>
    value === undefined || holds(value);
  must('ssm_cfg', 'an object', optional(isObject));
  must(
    'ssm_cfg.layer',
    '"Mamba1" (Mamba-2 is not supported)',
    optional(v => v === 'Mamba1'),
  );
  must(
    'attn_layer_idx',
    '[] (attention is not supported)',
    optional(v => Array.isArray(v) && !v.length),
  );
  must(
    'd_intermediate',
    '0 (MLP layers are not supported)',
    optional(v => v === 0),
  );
  must(
    'rms_norm',
    'true (layer norm is not supported)',
    optional(v => v === true),
  );
  must(
    'hidden_act',
    '"silu"',
    optional(v => v === 'silu'),
  );
  must(
    'eos_token_id',
    'a token id, or an array of them',
    optional(v => [v].flat().every(isId)),
  );

  const naming = at('hidden_size') === undefined ? 'state-spaces' : 'hf';
  const falcon = at('model_type') === 'falcon_mamba';
  const dModel = size(['hidden_size', 'd_model']);
  const vocab = size(['vocab_size']);
  const multiple = naming === 'hf' ? 1 : size(['pad_vocab_size_multiple'], 8);
  const ranks = ['time_step_rank', 'ssm_cfg.dt_rank', 'dt_rank'].filter(path => at(path) !== 'auto');
  const [eosTokenId] = [at('eos_token_id')].flat() as (number | undefined)[];
  return {
    architecture: falcon ? 'falcon-mamba' : 'mamba',
    layers: size(['num_hidden_layers', 'n_layer', 'n_layers'], undefined, MOST_LAYERS),
    dModel,
    // falcon-mamba-7b says expand 16 and intermediate_size 8192 = 2 · 4096: the size is right.
    dInner: size(['intermediate_size', 'd_inner'], dModel * size(['expand', 'ssm_cfg.expand'], 2)),
    dState: size(['state_size', 'ssm_cfg.d_state', 'd_state'], 16),
    dConv: size(['conv_kernel', 'ssm_cfg.d_conv', 'd_conv'], 4),
    dtRank: size(ranks, Math.ceil(dModel / 16)),
    vocabSize: Math.ceil(vocab / multiple) * multiple,
    normEps: eps(['layer_norm_epsilon', 'norm_epsilon'], 1e-5),
    tieEmbeddings: flag(['tie_word_embeddings', 'tie_embeddings'], true),
    useBias: flag(['use_bias', 'ssm_cfg.bias'], false),
    useConvBias: flag(['use_conv_bias', 'ssm_cfg.conv_bias'], true),
    ...(falcon && { mixerNormEps: eps(['mixer_rms_eps'], 1e-6) }),
    naming,
    ...(eosTokenId !== undefined && { eosTokenId }),
  };
}

const isId = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Ways to read a field. Of several paths the first that is there counts; without a fallback one must be. */
function fields(json: JsonObject, file: string) {
  /** null is absent: Python's configs write it for what was not set. */
  const at = (path: string): unknown => {
    const step = (value: unknown, key: string) =>
      isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
    return path.split('.').reduce<unknown>(step, json) ?? undefined;
  };
  const must = (path: string, what: string, holds: (value: unknown) => boolean): void => {
    if (!holds(at(path))) throw new RangeError(`${file}: ${path} expected ${what}; got ${show(at(path))}`);
  };
  const first = <T>(
    paths: readonly string[],
    fallback: T | undefined,
    what: string,
    holds: (v: T) => boolean,
  ): T => {
    const path = paths.find(p => at(p) !== undefined);
    if (path === undefined && fallback !== undefined) return fallback;
    must(path ?? paths[0], what, value => holds(value as T));
    return at(path!) as T;
  };
  return {
    at,
    must,
    size(paths: readonly string[], fallback?: number, most = MOST): number {
      first(paths, fallback, 'a positive integer', v => isId(v) && v > 0);
      return first(paths, fallback, `at most ${most}`, v => v <= most);
    },
    eps: (paths: readonly string[], fallback: number) =>
      first(paths, fallback, 'a number between 0 and 1', v => typeof v === 'number' && v > 0 && v < 1),
    flag: (paths: readonly string[], fallback: boolean) =>
      first(paths, fallback, 'true or false', v => typeof v === 'boolean'),
  };
}

/**
 * Checks that a checkpoint has every tensor that the model reads, in the shape that the config says.
 *
 * @returns the config with the embedding's own number of rows (state-spaces pads it), and the names that are not read.
 * @throws Error when a tensor is missing, TypeError when it is not a float, RangeError when its shape is another.
 */
export function checkWeights(
  config: MambaConfig,
  source: WeightSource,
): { readonly config: MambaConfig; readonly unused: readonly string[] } {
  const rows = source.has(EMBEDDING) ? source.shape(EMBEDDING)[0] : config.vocabSize;
  const padded = config.naming === 'state-spaces' && rows > config.vocabSize;
  const checked = padded ? { ...config, vocabSize: rows } : config;
  const expected = weightShapes(checked);
  for (const [name, shape] of expected) {
    const where = `${source.name}: tensor ${name}`;
    if (!source.has(name)) throw new Error(`${where} is missing`);
    if (!FLOATS.includes(source.dtype(name)))
      throw new TypeError(`${where} expected ${FLOATS.join(', ')}; got ${source.dtype(name)}`);
    if (String(source.shape(name)) !== String(shape))
      throw new RangeError(
        `${where} expected shape ${show(shape)} by the config; got ${show(source.shape(name))}`,
      );
  }
  const tiedHead = checked.tieEmbeddings ? 'lm_head.weight' : undefined;
  return { config: checked, unused: source.names().filter(name => !expected.has(name) && name !== tiedHead) };
}

const EMBEDDING = 'backbone.embeddings.weight';
const FLOATS: readonly string[] = ['F32', 'F16', 'BF16'];

/** Every tensor of the model with its shape, as WeightSource gives it. */
function weightShapes(config: MambaConfig): Map<string, readonly number[]> {
  const { dModel: m, dInner: d, dState: n, dConv: k, dtRank: r, vocabSize: v } = config;
  const shapes = new Map<string, readonly number[]>([[EMBEDDING, [v, m]]]);
  for (let layer = 0; layer < config.layers; layer++) {
    const set = (name: string, ...shape: number[]) => shapes.set(`backbone.layers.${layer}.${name}`, shape);
    set('norm.weight', m);
    set('mixer.in_proj.weight', 2 * d, m);
    if (config.useBias) set('mixer.in_proj.bias', 2 * d);
    set('mixer.conv1d.weight', d, k);
    if (config.useConvBias) set('mixer.conv1d.bias', d);
    set('mixer.x_proj.weight', r + 2 * n, d);
    set('mixer.dt_proj.weight', d, r);
    set('mixer.dt_proj.bias', d);
    set('mixer.A_log', d, n);
    set('mixer.D', d);
    set('mixer.out_proj.weight', m, d);
    if (config.useBias) set('mixer.out_proj.bias', m);
  }
  shapes.set('backbone.norm_f.weight', [m]);
  if (!config.tieEmbeddings) shapes.set('lm_head.weight', [v, m]);
  return shapes;
}
