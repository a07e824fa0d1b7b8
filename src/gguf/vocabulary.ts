/**
 * A vocabulary as llama.cpp's keys: byte-level BPE, which it calls `gpt2`.
 *
 * llama.cpp takes the number of rows of the embedding from the list of tokens, so ids that the tokenizer does not have
 * (padding) get a placeholder. A text is cut into words before the merges by a rule that llama.cpp knows by name (`pre`).
 * It does not normalize texts: where the tokenizer does (NFC, in GPT-NeoX's), a text that is not normal gets other tokens.
 */

import { isObject, type JsonObject, plain, show } from '../formats/json.ts';
import type { GgufValue } from './file.ts';

/** Kinds of token, by llama.cpp's numbers. A control token is no text; a user-defined one is found before any merge. */
const KIND = { normal: 1, control: 3, userDefined: 4, unused: 5 } as const;

interface Token {
  readonly text: string;
  readonly kind: number;
}

export interface VocabularyOptions {
  /** Rows of the embedding. */
  readonly rows: number;
  readonly eosTokenId: number;
}

/**
 * From a parsed tokenizer.json that `createTokenizer` takes.
 *
 * @param file how errors call it.
 * @throws Error when llama.cpp has no name for its way of cutting a text, or it has more ids than the model has rows.
 */
export function vocabularyOf(json: unknown, file: string, options: VocabularyOptions): Keys {
  const { model, added_tokens: added = [], pre_tokenizer: cutter } = json as JsonObject;
  const { vocab, merges } = model as { vocab: Record<string, number>; merges: (string | string[])[] };
  const tokens: Token[] = [];
  const { rows, eosTokenId } = options;
  const set = (id: number, text: string, kind: number) => {
    if (id >= rows)
      throw new Error(`${file}: token ${show(text)} has id ${id}; the model's embedding has ${rows} rows`);
    tokens[id] = { text, kind };
  };
  for (const [text, id] of Object.entries(vocab)) set(id, text, KIND.normal);
  for (const { content, id, special } of added as { content: string; id: number; special?: boolean }[])
    set(id, content, special ? KIND.control : KIND.userDefined);
  const padding = (id: number): Token => ({ text: `[PAD${id}]`, kind: KIND.unused });
  const padded = Array.from({ length: rows }, (_, id) => tokens[id] ?? padding(id));
  const pairs = merges.map(merge => (typeof merge === 'string' ? merge : merge.join(' ')));
  return keys(padded, pairs, cutterName(cutter, file), eosTokenId);
}

/**
 * For a model without a tokenizer: the text `[17]` is token 17. Every token prints, so nothing that it writes is invalid
 * UTF-8, and every list of ids can be written as a text.
 */
export function placeholderVocabulary({ rows, eosTokenId }: VocabularyOptions): Keys {
  const tokens = Array.from({ length: rows }, (_, id) => ({ text: `[${id}]`, kind: KIND.userDefined }));
  return keys(tokens, [], 'gpt-2', eosTokenId);
}

type Keys = Record<string, GgufValue>;
function keys(tokens: readonly Token[], merges: readonly string[], pre: string, end: number): Keys {
  return {
    'tokenizer.ggml.model': ['string', 'gpt2'],
    'tokenizer.ggml.pre': ['string', pre],
    'tokenizer.ggml.tokens': ['string[]', tokens.map(token => token.text)],
    'tokenizer.ggml.token_type': ['i32[]', tokens.map(token => token.kind)],
    'tokenizer.ggml.merges': ['string[]', merges],
    // GPT-2's heirs have one special token for all; left out, llama.cpp would take id 11
    'tokenizer.ggml.bos_token_id': ['u32', end],
    'tokenizer.ggml.eos_token_id': ['u32', end],
    'tokenizer.ggml.unknown_token_id': ['u32', end],
    'tokenizer.ggml.add_bos_token': ['bool', false],
  };
}

/** llama.cpp's names for the ways of cutting a text that the checkpoints of our families have. */
const CUTTERS: Readonly<Record<string, string>> = {
  ByteLevel: 'gpt-2',
  'Punctuation, ByteLevel, Digits, Split [0-9][0-9][0-9]': 'falcon',
  // GPT-4's, which Granite has
  "Split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+, ByteLevel use_regex=false":
    'dbrx',
};

function cutterName(cutter: unknown, file: string): string {
  const list = isObject(cutter) && Array.isArray(cutter.pretokenizers) ? cutter.pretokenizers : [cutter];
  const found = (list as JsonObject[]).map(inWords).join(', ');
  if (Object.hasOwn(CUTTERS, found)) return CUTTERS[found];
  throw new Error(
    `${file}: pre_tokenizer expected one that llama.cpp has (${Object.values(CUTTERS).join(', ')}); got ${plain(found)}`,
  );
}

/** A step by its type, and by what makes it cut in another way than a step of its type usually does. */
function inWords({ type, pattern, ...options }: JsonObject): string {
  const regex = isObject(pattern) ? [pattern.Regex ?? pattern.String] : [];
  const unusual = { use_regex: false, add_prefix_space: true, individual_digits: true, invert: true };
  const differs = Object.entries(unusual).filter(([key, value]) => options[key] === value);
  return [type, ...regex, ...differs.map(([key, value]) => `${key}=${value}`)].join(' ');
}
