/**
 * Text ↔ token ids, from a tokenizer.json with byte-level BPE (what published Mamba and Falcon-Mamba checkpoints have).
 *
 * A token is a few bytes, and a text is the UTF-8 decoding of the bytes of all its tokens: a character may lie across
 * tokens, so only a decoder that remembers can show a text while it is being written (`stream`).
 *
 *   decode(ids) = utf8(bytes(id₀) · bytes(id₁) · …) = push(id₀) + push(id₁) + … + end()
 */
import { concat } from './bytes.ts';
import { readCutting, stepsOf } from './cutting.ts';
import { BPE } from './huggingface.ts';
import { array, isObject, type JsonObject, oneOf, show } from './json.ts';

/** The files of a model's folder that say how a text or a chat becomes tokens. */
export const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
] as const;

export interface Tokenizer {
  /** Ids are 0 … vocabSize − 1, with holes where `has` says so. The model may have more rows than that (padding). */
  readonly vocabSize: number;
  /** The token that stands for an empty text, one of those that end a text; undefined where the files name none. */
  readonly eosTokenId?: number;
  /** All tokens that end a text. */
  readonly endTokenIds: readonly number[];
  /** The token that begins every text, where the tokenizer adds one. `encode` adds none; `textTokens` does. */
  readonly bosTokenId?: number;
  /** Whether a file names the token. */
  has(id: number): boolean;
  /**
   * Adds no special tokens; those written out in the text (`<|endoftext|>`) become their ids.
   *
   * @throws TypeError for what is no string; RangeError for a lone surrogate (it has no UTF-8).
   */
  encode(text: string): Int32Array;
  /**
   * Bytes that are not UTF-8 come out as U+FFFD. No spaces are trimmed or tidied.
   *
   * @throws RangeError for an id outside 0 … vocabSize − 1.
   */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** The bytes of a token, which may be a part of a character; none for an id that `has` does not know. */
  bytesOf(id: number): Uint8Array;
  stream(options?: DecodeOptions): TokenStream;
}

export interface DecodeOptions {
  /** Leave out special tokens such as `<|endoftext|>`. Default: true. */
  readonly skipSpecial?: boolean;
}

export interface TokenStream {
  /** The text that is certain now. A character is held back until its last byte has come. */
  push(id: number): string;
  /** What was held back: U+FFFD for a character that nothing completes. The stream may be used for a new text then. */
  end(): string;
}

/**
 * @param json the parsed tokenizer.json
 * @param config the parsed tokenizer_config.json; only its eos_token, bos_token and add_bos_token are read
 * @param file how errors call the tokenizer.json
 * @param ends tokens that other files name as ends of a text
 * @throws Error naming the file and the field that is wrong.
 */
export function createTokenizer(
  json: unknown,
  config?: unknown,
  file = 'tokenizer.json',
  ends: readonly number[] = [],
): Tokenizer {
  const tokens = readVocabulary(json, file);
  const endTokenIds = endsOf(tokens, config, file, ends);
  const known = new Set([...tokens.keys(), ...endTokenIds]);
  const vocabSize = [...known].reduce((most, id) => Math.max(most, id), -1) + 1;
  const cut = readCutting(json as JsonObject, file);
  const { model } = json as { model: { merges: (string | string[])[] } };
  const merges = model.merges.map(pair => (typeof pair === 'string' ? pair.split(' ') : pair));
  const bpe = new BPE({ ...model, merges });

  const bytesOf = (id: number, position: number, skipSpecial: boolean): Uint8Array => {
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
      throw new RangeError(`token ${id} is out of range 0 … ${vocabSize - 1} at position ${position}`);
    const token = tokens.get(id);
    return token === undefined || (skipSpecial && token.special) ? NOTHING : token.bytes;
  };

  return {
    vocabSize,
    eosTokenId: endTokenIds[0],
    endTokenIds,
    bosTokenId: beginOf(
      tokens,
      firstAdded((json as JsonObject).post_processor, `${file}: post_processor`),
      config,
      file,
    ),
    has: id => known.has(id),
    encode(text) {
      if (typeof text !== 'string') throw new TypeError(`encode: expected a text; got ${show(text)}`);
      const at = text.search(SURROGATE);
      if (at >= 0)
        throw new RangeError(
          `encode: the text has a lone surrogate (U+${text.charCodeAt(at).toString(16).toUpperCase()}) at index ${at}`,
        );
      return Int32Array.from(
        cut(text).flatMap(piece =>
          typeof piece === 'number' ? piece : bpe.encode([piece]).map(token => bpe.tokens_to_ids.get(token)!),
        ),
      );
    },
    decode(list, { skipSpecial = true } = {}) {
      if (typeof list?.length !== 'number')
        throw new TypeError(`decode: expected an array of token ids; got ${show(list)}`);
      return utf8().decode(concat(Array.from(list, (id, position) => bytesOf(id, position, skipSpecial))));
    },
    bytesOf: id => bytesOf(id, 0, false),
    stream({ skipSpecial = true } = {}) {
      const decoder = utf8();
      let position = 0;
      return {
        push(id) {
          const bytes = bytesOf(id, position, skipSpecial);
          position++;
          return decoder.decode(bytes, { stream: true });
        },
        end() {
          position = 0;
          return decoder.decode();
        },
      };
    },
  };
}

/** Of an added token. Published ones have up to 64. */
const MOST_ADDED = 256;
const SURROGATE = /\p{Surrogate}/u;
const NOTHING = new Uint8Array(0);
/** A byte order mark inside a text is a character like any other. */
const utf8 = () => new TextDecoder('utf-8', { ignoreBOM: true });

interface Token {
  readonly text: string;
  readonly bytes: Uint8Array;
  readonly special: boolean;
}

/**
 * The character that stands for each byte in a byte-level vocabulary: itself where it can be printed, else one from
 * U+0100 on, in order (Radford et al. 2019, GPT-2's `bytes_to_unicode`).
 */
const BYTE_OF = new Map<string, number>();
{
  let spare = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    BYTE_OF.set(String.fromCharCode(printable ? byte : spare++), byte);
  }
}
/** These stand in no UTF-8 text, so a vocabulary can do without them. */
const neverInUtf8 = (byte: number): boolean => byte === 0xc0 || byte === 0xc1 || byte > 0xf4;

/** A token that is not spelt in the alphabet of bytes stands for its own text. */
function spelt(text: string): Uint8Array {
  const bytes = Array.from(text, char => BYTE_OF.get(char));
  return bytes.includes(undefined) ? new TextEncoder().encode(text) : Uint8Array.from(bytes as number[]);
}

/** Checks all that could make text vanish in silence, and gives the tokens by id. */
function readVocabulary(json: unknown, file: string): Map<number, Token> {
  const fail = (field: string, expected: string, got: unknown): never => {
    throw new Error(`${file}: ${field} expected ${expected}; got ${show(got)}`);
  };
  if (!isObject(json)) throw new Error(`${file}: expected a tokenizer (a JSON object); got ${show(json)}`);
  const { model, decoder, pre_tokenizer: cutter, added_tokens: added = [] } = json;
  if (!isObject(model) || model.type !== 'BPE')
    return fail('model.type', '"BPE"', isObject(model) ? model.type : model);
  const { vocab, merges } = model;
  for (const field of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix'])
    if (model[field]) return fail(`model.${field}`, 'none (byte-level BPE has none)', model[field]);
  if (!isObject(vocab)) return fail('model.vocab', 'an object', vocab);
  if (!Array.isArray(merges)) return fail('model.merges', 'an array', merges);
  if (!Array.isArray(added)) return fail('added_tokens', 'an array', added);
  if (!byteLevel(decoder))
    return fail('decoder.type', '"ByteLevel"', isObject(decoder) ? decoder.type : decoder);
  if (!steps(cutter).some(byteLevel))
    return fail('pre_tokenizer', 'a ByteLevel step', isObject(cutter) ? cutter.type : cutter);

  const tokens = new Map<number, Token>();
  for (const [text, id] of Object.entries(vocab)) {
    const field = `model.vocab ${show(text)}`;
    if (!isId(id)) return fail(field, ID, id);
    const other = tokens.get(id);
    if (other) return fail(field, `an id of its own (${show(other.text)} has it too)`, id);
    tokens.set(id, { text, bytes: spelt(text), special: false });
  }
  for (const [char, byte] of BYTE_OF)
    if (!Object.hasOwn(vocab, char) && !neverInUtf8(byte))
      return fail('model.vocab', `a token ${show(char)} for byte ${byte}`, undefined);
  for (const [i, merge] of merges.entries()) {
    const pair: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    if (pair.length !== 2 || ![...pair, pair.join('')].every(text => Object.hasOwn(vocab, text as string)))
      return fail(`model.merges[${i}]`, 'two tokens that together are a token', merge);
  }
  for (const [i, token] of added.entries()) {
    const { content, id, special }: JsonObject = isObject(token) ? token : {};
    if (
      typeof content !== 'string' ||
      content === '' ||
      content.length > MOST_ADDED ||
      SURROGATE.test(content)
    )
      return fail(`added_tokens[${i}].content`, `a text of at most ${MOST_ADDED} characters`, content);
    if (!isId(id)) return fail(`added_tokens[${i}].id`, ID, id);
    const known = Object.hasOwn(vocab, content) ? vocab[content] : id;
    if (known !== id) return fail(`added_tokens[${i}].id`, `${known}, as in model.vocab`, id);
    tokens.set(id, { text: content, bytes: new TextEncoder().encode(content), special: special === true });
  }
  return tokens;
}

const byteLevel = (step: unknown): boolean => isObject(step) && step.type === 'ByteLevel';
const steps = (cutter: unknown): unknown[] =>
  isObject(cutter) && Array.isArray(cutter.pretokenizers) ? cutter.pretokenizers : [cutter];

/** Far above any vocabulary; it keeps a wrong file from claiming 2⁵³ tokens. */
const MOST_IDS = 2 ** 24;

const ID = `an id from 0 to ${MOST_IDS - 1}`;
const isId = (id: unknown): id is number =>
  Number.isInteger(id) && (id as number) >= 0 && (id as number) < MOST_IDS;

/**
 * First what tokenizer_config.json says (null: it names none), then what other files say. Where it says nothing, the name that
 * GPT-2's heirs share ends a text too, and comes last.
 */
function endsOf(
  tokens: ReadonlyMap<number, Token>,
  config: unknown,
  file: string,
  others: readonly number[],
): readonly number[] {
  const { eos_token: said }: JsonObject = isObject(config) ? config : {};
  if (said === undefined) return unique([...others, idOf(tokens, '<|endoftext|>')]);
  if (said === null) return unique(others);
  return unique([named(tokens, said, 'eos_token', file), ...others]);
}

/**
 * As transformers adds it: where tokenizer_config.json has an add_bos_token, that decides. Else the post-processor of tokenizer.json
 * does, by the special token with which it begins a text.
 */
function beginOf(
  tokens: ReadonlyMap<number, Token>,
  first: string | undefined,
  config: unknown,
  file: string,
): number | undefined {
  const { add_bos_token: adds, bos_token: said }: JsonObject = isObject(config) ? config : {};
  if (adds === true) return named(tokens, said, 'bos_token', file);
  if (adds === false) return undefined;
  return idOf(tokens, first);
}

/**
 * A post-processor adds special tokens only, which `encode` does not ask for.
 *
 * @returns the text of the one with which it begins a text, if it does
 * @throws Error naming the field that is wrong.
 */
function firstAdded(value: unknown, where: string): string | undefined {
  let first: unknown;
  for (const { step, where: at } of stepsOf(value, where, 'processors')) {
    const fields = PROCESSORS.get(oneOf(step.type, `${at}.type`, [...PROCESSORS.keys()]))!;
    const [start] = fields.map(field => array(step[field], `${at}.${field}`)[0]);
    first ??= (start as { SpecialToken?: { id?: unknown } } | undefined)?.SpecialToken?.id ?? start;
  }
  return typeof first === 'string' ? first : undefined;
}

const PROCESSORS = new Map<unknown, readonly string[]>([
  ['ByteLevel', []],
  ['TemplateProcessing', ['single', 'pair']],
  ['BertProcessing', ['cls', 'sep']],
  ['RobertaProcessing', ['cls', 'sep']],
]);

const idOf = (tokens: ReadonlyMap<number, Token>, text: unknown): number | undefined =>
  [...tokens].find(([, token]) => token.text === text)?.[0];

/** The id of a token that tokenizer_config.json names, by its text or as an object with its `content`. */
function named(tokens: ReadonlyMap<number, Token>, said: unknown, field: string, file: string): number {
  const text = contentOf(said);
  const id = idOf(tokens, text);
  if (id === undefined)
    throw new Error(
      `${file}: the vocabulary has no token ${show(text)}, which tokenizer_config.json names as ${field}`,
    );
  return id;
}

/** The text of a token as Python's files write it. */
export const contentOf = (token: unknown): unknown => (isObject(token) ? token.content : token);

/** The tokens with which a text begins: with the tokenizer's first one where it adds one, once, also where the text has it already. */
export function textTokens(tokenizer: Tokenizer, text: string): Int32Array {
  const { bosTokenId } = tokenizer;
  const ids = tokenizer.encode(text);
  return bosTokenId === undefined || ids[0] === bosTokenId ? ids : Int32Array.from([bosTokenId, ...ids]);
}

const unique = (ids: readonly (number | undefined)[]): readonly number[] => [
  ...new Set(ids.filter(id => id !== undefined)),
];
