/** Model folders as they come from elsewhere: the toy models written down under the names and keys of their makers. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { f16round } from '@petamoriken/float16';
import { type Writable, writeSafetensors } from '../../src/formats/safetensors.ts';
import { shapeAsStored } from '../../src/formats/weights.ts';
import type { MambaConfig } from '../../src/model/mamba.ts';
import type { Mamba2Config } from '../../src/model/mamba2.ts';
import { concat, utf8 } from '../formats/file.ts';
import { noise, random, type Toy, toy } from '../toy.ts';

export type Files = Record<string, Uint8Array>;
export type Tensors = Record<string, Writable>;

type AnyConfig = MambaConfig | Mamba2Config;
export interface ToyOptions {
  readonly of?: Toy<AnyConfig>;
  /** Every value is rounded to what this dtype has. */
  readonly precision?: 'F32' | 'F16' | 'BF16';
  /** How they are stored; they must fit. Default: the precision. */
  readonly dtype?: 'F32' | 'F16' | 'BF16';
  /** With a tokenizer.json of bytes. The embedding then has 257 rows. */
  readonly text?: boolean;
}

export const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
/** Infinities and NaN too, which a stranger's file may hold. */
export const safetensorsOf = (tensors: Tensors, metadata?: Record<string, string>): Uint8Array =>
  concat(writeSafetensors(Object.entries(tensors), metadata, { finite: false }));

/** A Hugging Face folder. */
export function toyFiles(options: ToyOptions = {}): Files {
  const { of = toy, text = false } = options;
  return {
    'config.json': json(hfConfig(configOf(of, text))),
    'model.safetensors': safetensorsOf(toyTensors(options)),
    ...(text && {
      'tokenizer.json': json(byteTokenizer()),
      'tokenizer_config.json': json({ eos_token: END }),
    }),
  };
}

/** The tensors of a toy under the names and in the shapes of its Hugging Face checkpoint. */
export function toyTensors({
  of = toy,
  precision = 'F32',
  dtype = precision,
  text = false,
}: ToyOptions = {}): Tensors {
  const { graph, weights } = of.program;
  const { dModel } = of.config;
  const tensors = [...graph.weights.keys()].map((name): [string, Writable] => {
    const wide = text && /embeddings|lm_head/.test(name);
    const { shape, data } = wide
      ? { shape: [BYTES_AND_END, dModel], data: noise(BYTES_AND_END * dModel, random(name.length)) }
      : weights.read(name);
    return [
      name,
      { dtype, shape: shapeAsStored(name, shape), data: Float32Array.from(data, ROUND[precision]) },
    ];
  });
  return Object.fromEntries(tensors);
}

/** To the values that a dtype has. */
export const ROUND: Readonly<Record<'F32' | 'F16' | 'BF16', (x: number) => number>> = {
  F32: x => x,
  F16: f16round,
  BF16(x) {
    const bits = new Uint32Array(Float32Array.of(x).buffer);
    bits[0] &= 0xffff0000;
    return new Float32Array(bits.buffer)[0];
  },
};

const configOf = (of: Toy<AnyConfig>, text: boolean): AnyConfig =>
  text ? { ...of.config, vocabSize: BYTES_AND_END } : of.config;

export const hfConfig = (config: AnyConfig): Record<string, unknown> => ({
  ...('heads' in config ? headsOf(config) : channelsOf(config)),
  num_hidden_layers: config.layers,
  hidden_size: config.dModel,
  state_size: config.dState,
  conv_kernel: config.dConv,
  vocab_size: config.vocabSize,
  layer_norm_epsilon: config.normEps,
  tie_word_embeddings: config.tieEmbeddings,
  use_bias: config.useBias,
  use_conv_bias: config.useConvBias,
});

const channelsOf = (config: MambaConfig) => ({
  model_type: config.architecture === 'falcon-mamba' ? 'falcon_mamba' : 'mamba',
  intermediate_size: config.dInner,
  time_step_rank: config.dtRank,
  ...(config.mixerNormEps && { mixer_rms_eps: config.mixerNormEps }),
});

const headsOf = ({ heads, headDim, groups, dModel, dtLo = 0, dtHi }: Mamba2Config) => ({
  model_type: 'mamba2',
  expand: (heads * headDim + 0.5) / dModel, // int(expand · d_model) is what the heads have
  num_heads: heads,
  head_dim: headDim,
  n_groups: groups,
  ...(dtHi !== undefined && { time_step_limit: [dtLo, dtHi] }),
});

/** The keys of mamba-130m's config.json. */
export const stateSpacesConfig = (config: MambaConfig): Record<string, unknown> => ({
  d_model: config.dModel,
  n_layer: config.layers,
  vocab_size: config.vocabSize,
  ssm_cfg: { d_state: config.dState, d_conv: config.dConv, dt_rank: config.dtRank },
  rms_norm: true,
  residual_in_fp32: true,
  fused_add_norm: true,
  pad_vocab_size_multiple: 8,
  tie_embeddings: config.tieEmbeddings,
});

const END = '<|endoftext|>';
const BYTES_AND_END = 257;

/** Token i is byte i, spelt in GPT-2's alphabet; 256 ends a text. */
export function byteTokenizer(): Record<string, unknown> {
  let spare = 0x100;
  const spell = (byte: number) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(printable ? byte : spare++);
  };
  const vocab = Object.fromEntries(Array.from({ length: 256 }, (_, byte) => [spell(byte), byte]));
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    added_tokens: [{ id: 256, content: END, special: true }],
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model: { type: 'BPE', vocab, merges: [] },
  };
}

/** Two shards and their index. */
export function sharded(tensors: Tensors): Files {
  const shard = (i: number) => `model-0000${i + 1}-of-00002.safetensors`;
  const names = Object.keys(tensors);
  const half = (i: number) =>
    Object.fromEntries(names.filter((_, n) => n % 2 === i).map(n => [n, tensors[n]]));
  return {
    [shard(0)]: safetensorsOf(half(0)),
    [shard(1)]: safetensorsOf(half(1)),
    'model.safetensors.index.json': json({
      metadata: {},
      weight_map: Object.fromEntries(names.map((name, n) => [name, shard(n % 2)])),
    }),
  };
}

export function writeFolder(path: string, files: Files): string {
  mkdirSync(path, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(path, name), bytes);
  return path;
}
