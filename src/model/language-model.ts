/**
 * What the language models have in common: tokens → embedding → blocks → norm → head, and the fields of config.json that say so.
 *
 * Source  transformers MambaConfig, Mamba2Config · state-spaces/mamba MambaConfig: names and defaults
 */
import { isObject, isSize, type JsonObject } from '../formats/json.ts';
import type { WeightSource } from '../formats/weights.ts';
import { type Builder, type Graph, type Ref, trace } from '../graph.ts';
import { ops } from '../ops/index.ts';
import type { Config } from './architecture.ts';
import { fields } from './fields.ts';

export interface LanguageModelConfig extends Config {
  /** m, the width of the residual stream. */
  readonly dModel: number;
  readonly normEps: number;
  /** Whether the head is the embedding. */
  readonly tieEmbeddings: boolean;
  /** Whose keys and names the checkpoint has. */
  readonly naming: 'hf' | 'state-spaces';
}

/** The names of what is around the blocks, and the eps of the last norm where the stream is not in the config's units. */
export interface Around {
  readonly embedding: string;
  readonly norm: string;
  readonly eps?: number;
}
export const BACKBONE: Around = { embedding: 'backbone.embeddings.weight', norm: 'backbone.norm_f.weight' };

/**
 * tokens i32[l] → logits f32[l, v].
 *
 * @param block a layer, its residual included: h f32[l, m] → f32[l, m].
 * @param shared what all layers read besides, made of the tokens.
 */
export const languageModel = <C extends LanguageModelConfig, Shared>(
  config: C,
  { embedding, norm, eps = config.normEps }: Around,
  block: (g: Builder, config: C, layer: number, h: Ref, shared: Shared) => Ref,
  shared: (g: Builder, tokens: Ref) => Shared = () => undefined as Shared,
): Graph =>
  trace((g, tokens) => {
    const { layers, dModel: m, vocabSize: v } = config;
    const read = shared(g, tokens);
    let h = g.op('embedded', ops.embedding, { tokens, w: g.weight(embedding, [v, m], 'embedding') });
    for (let layer = 0; layer < layers; layer++)
      h = block(g.scope(`layers.${layer}`), config, layer, h, read);
    const normed = g.op('normed', ops.rmsNorm, { x: h, w: g.weight(norm, [m]) }, { eps });
    const head = g.weight(config.tieEmbeddings ? embedding : 'lm_head.weight', [v, m], 'head');
    return g.op('logits', ops.linear, { x: g.site('headIn', normed), w: head });
  });

const MOST_LAYERS = 4096;

/** Whether a config.json has the keys of state-spaces (`d_model`, `n_layer`, `ssm_cfg`), of a model with this layer. */
export const isStateSpaces = (json: JsonObject, layer: 'Mamba1' | 'Mamba2'): boolean => {
  const isMamba2 = fields(json, '').at('ssm_cfg.layer') === 'Mamba2';
  return (
    (json.model_type ?? null) === null && (json.d_model ?? null) !== null && isMamba2 === (layer === 'Mamba2')
  );
};

/** The fields that all have: Hugging Face's keys, or those of state-spaces. */
export function parseLanguageModel(
  json: JsonObject,
  file: string,
): Omit<LanguageModelConfig, 'architecture'> {
  const { at, may, size, eps, flag } = fields(json, file);
  may('ssm_cfg', 'an object', isObject);
  may('attn_layer_idx', '[] (attention is not supported)', v => Array.isArray(v) && !v.length);
  may('d_intermediate', '0 (MLP layers are not supported)', v => v === 0);
  may('rms_norm', 'true (layer norm is not supported)', v => v === true);
  may('hidden_act', '"silu"', v => v === 'silu');
  may('eos_token_id', 'a token id, or an array of them', v => [v].flat().every(isSize));

  const naming = at('hidden_size') === undefined ? 'state-spaces' : 'hf';
  const vocab = size(['vocab_size']);
  const multiple = naming === 'hf' ? 1 : size(['pad_vocab_size_multiple'], 8);
  const [eosTokenId] = [at('eos_token_id')].flat() as (number | undefined)[];
  return {
    layers: size(['num_hidden_layers', 'n_layer', 'n_layers'], undefined, MOST_LAYERS),
    dModel: size(['hidden_size', 'd_model']),
    vocabSize: Math.ceil(vocab / multiple) * multiple,
    normEps: eps(['layer_norm_epsilon', 'norm_epsilon'], 1e-5),
    tieEmbeddings: flag(['tie_word_embeddings', 'tie_embeddings'], true),
    naming,
    ...(eosTokenId !== undefined && { eosTokenId }),
  };
}

/** Checkpoints of state-spaces may pad the embedding further than their config.json says. */
export function padded<C extends LanguageModelConfig>(config: C, source: WeightSource): C {
  const rows = source.tensors.get(BACKBONE.embedding)?.shape[0] ?? 0;
  const isPadded = config.naming === 'state-spaces' && rows > config.vocabSize;
  return isPadded ? { ...config, vocabSize: rows } : config;
}
