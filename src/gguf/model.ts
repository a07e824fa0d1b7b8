/** A float model as a GGUF file: the family's keys and tensors, and what all families have. */
import { plain } from '../formats/json.ts';
import type { Weights } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { falconH1 } from '../model/falcon-h1.ts';
import { falconMamba } from '../model/falcon-mamba.ts';
import { graniteHybrid } from '../model/granite-hybrid.ts';
import { outlineOf } from '../model/index.ts';
import { jamba } from '../model/jamba.ts';
import type { LanguageModelConfig } from '../model/language-model.ts';
import { mamba } from '../model/mamba.ts';
import { mamba2 } from '../model/mamba2.ts';
import { type Family, tensorsOf, u32 } from './family.ts';
import type { Gguf } from './file.ts';
import type { GgmlType } from './ggml.ts';
import { falconH1Family, graniteFamily, jambaFamily } from './hybrid.ts';
import { mamba2Family, mambaFamily } from './mamba.ts';

/** How the large matrices are stored, by the file's own number and the type of a matrix whose rows are whole blocks. */
export const storage = {
  f32: { fileType: 0, matrix: 'F32' },
  f16: { fileType: 1, matrix: 'F16' },
  q8_0: { fileType: 7, matrix: 'Q8_0' },
} as const satisfies Record<string, { fileType: number; matrix: GgmlType }>;
export type Storage = keyof typeof storage;

// biome-ignore lint/suspicious/noExplicitAny: each family is asked for its own config only
const FAMILIES: Readonly<Record<string, Family<any>>> = {
  [mamba.name]: mambaFamily,
  [falconMamba.name]: mambaFamily,
  [mamba2.name]: mamba2Family,
  [graniteHybrid.name]: graniteFamily,
  [falconH1.name]: falconH1Family,
  [jamba.name]: jambaFamily,
};

/**
 * The model without a vocabulary; tensors are read when their turn comes. Vectors, the convolution, A and D are F32 in
 * every storage, and so are matrices whose rows are not whole blocks.
 *
 * @param checkpoint the weights as they are stored; multipliers are not in them.
 * @param name of the model, for people.
 * @param where begins the sentence of an error: it names the config.
 * @throws RangeError for a model that llama.cpp cannot run.
 */
export function ggufOf(
  config: Config,
  checkpoint: Weights,
  stored: Storage,
  name: string,
  where = 'config',
): Gguf {
  const family = FAMILIES[config.architecture];
  if (!family)
    throw new RangeError(
      `${where}: architecture expected ${Object.keys(FAMILIES).join(' or ')}; got ${plain(config.architecture)}`,
    );
  family.check(config, where);
  const arch = family.arch(config);
  const { dModel } = config as LanguageModelConfig;
  const keys = {
    vocab_size: u32(config.vocabSize),
    embedding_length: u32(dModel),
    block_count: u32(config.layers),
    ...family.keys(config),
  };
  const outline = outlineOf(config);
  const plainly = family.plain ? outlineOf(family.plain(config)) : outline;
  return {
    metadata: {
      'general.architecture': ['string', arch],
      'general.name': ['string', name],
      'general.file_type': u32(storage[stored].fileType),
      'general.quantization_version': u32(2),
      ...Object.fromEntries(Object.entries(keys).map(([key, value]) => [`${arch}.${key}`, value])),
    },
    tensors: tensorsOf(family, config, outline.stored, plainly.read(checkpoint), storage[stored].matrix),
  };
}
