import { readdirSync, readFileSync } from 'node:fs';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTokenizer, textTokens } from '../../src/formats/tokenizer.ts';

const folder = new URL('../../models/mamba-books-15m/', import.meta.url);
const parse = (file: string) => JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
const json = parse('tokenizer.json');
const config = parse('tokenizer_config.json');
const tokenizer = createTokenizer(json, config);
const library = new Library(json, config);

const text = fc.string({ unit: 'binary', maxLength: 60 }); // any code points, unpaired surrogates excluded
const prose = fc
  .array(
    fc.constantFrom(
      'the',
      ' old',
      ' man’s',
      '  \n',
      '\t',
      "'s",
      '🙂',
      'é',
      'e\u0301',
      '👩‍👩‍👧',
      '\ufeff',
      '中文',
      ' 12',
      '<|endoftext|>',
      '<|end',
      '\0',
    ),
  )
  .map(parts => parts.join(''));
const id = fc.integer({ min: 0, max: tokenizer.vocabSize - 1 });
/** Ids of single bytes: these make broken UTF-8 far more often than random tokens. */
const byteId = fc.constantFrom(...Array.from({ length: 257 }, (_, i) => i));
const idList = fc.array(fc.oneof(id, byteId), { maxLength: 40 });

/** GPT-2's alphabet lists the printable bytes first; this vocabulary's ids follow it from 1 on, sorted by character. */
const ALPHABET = [
  ...Array.from({ length: 94 }, (_, i) => 0x21 + i),
  ...Array.from({ length: 12 }, (_, i) => 0xa1 + i),
  ...Array.from({ length: 82 }, (_, i) => 0xae + i),
  ...Array.from({ length: 33 }, (_, i) => i),
  ...Array.from({ length: 34 }, (_, i) => 0x7f + i),
  0xad,
];
const byteToken = (byte: number) => 1 + ALPHABET.indexOf(byte);

const streamed = (ids: ArrayLike<number>, options?: { skipSpecial: boolean }) => {
  const stream = tokenizer.stream(options);
  return [...Array.from(ids, i => stream.push(i)), stream.end()];
};

describe('encode and decode', () => {
  it('give any text back', () => {
    fc.assert(
      fc.property(fc.oneof(text, prose), t => {
        expect(tokenizer.decode(tokenizer.encode(t), { skipSpecial: false })).toBe(t);
      }),
      { numRuns: 500 },
    );
  });

  it('agree with the library on any ids', () => {
    fc.assert(
      fc.property(
        idList.filter(ids => ids.length > 0),
        fc.boolean(),
        (ids, skipSpecial) => {
          const options = { skip_special_tokens: skipSpecial, clean_up_tokenization_spaces: false };
          expect(tokenizer.decode(ids, { skipSpecial })).toBe(library.decode(ids, options));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('add no special tokens, and know those written out', () => {
    expect([...tokenizer.encode('')]).toEqual([]);
    expect(tokenizer.decode([])).toBe('');
    for (const [got, ids] of [
      ['nothing', undefined],
      ['null', null],
      ['7', 7],
    ] as const)
      expect(() => tokenizer.decode(ids as never)).toThrow(
        `decode: expected an array of token ids; got ${got}`,
      );
    const ids = tokenizer.encode('a<|endoftext|>b');
    expect([...ids]).toEqual([...tokenizer.encode('a'), 0, ...tokenizer.encode('b')]);
    expect(tokenizer.decode(ids)).toBe('ab');
    expect(tokenizer.decode(ids, { skipSpecial: false })).toBe('a<|endoftext|>b');
  });

  it('leave spaces before punctuation as they are', () => {
    expect(tokenizer.decode(tokenizer.encode("it 's , he said ."))).toBe("it 's , he said .");
  });

  it('know the size and the end of text', () => {
    expect(tokenizer.vocabSize).toBe(8192);
    expect(tokenizer.eosTokenId).toBe(0);
    expect(createTokenizer(json).eosTokenId).toBe(0);
    expect(createTokenizer(json, { eos_token: { content: '!' } }).eosTokenId).toBe(1);
    expect(createTokenizer(json, { eos_token: null }).eosTokenId).toBeUndefined();
  });

  it('know every end of a text that any file names, the tokenizer_config.json first', () => {
    const ends = (about: unknown, ...others: number[]) =>
      createTokenizer(json, about, '', others).endTokenIds;
    expect(ends({ eos_token: '!' }, 5, 1, 9000)).toEqual([1, 5, 9000]);
    expect(ends({ eos_token: null }, 5)).toEqual([5]);
    expect(ends({}, 5)).toEqual([5, 0]); // <|endoftext|> ends a text where nobody says that it does not
    expect(ends(undefined)).toEqual([0]);
    const far = createTokenizer(json, undefined, '', [9000]);
    expect([far.vocabSize, far.has(9000), far.has(8999), far.decode([9000])]).toEqual([
      9001,
      true,
      false,
      '',
    ]);
  });

  it('begin a text with the token that the files say, once', () => {
    const starts = (about: unknown, processor?: unknown) => {
      const made = createTokenizer(
        { ...json, ...(processor !== undefined && { post_processor: processor }) },
        about,
      );
      const [bos] = [made.bosTokenId].filter(id => id !== undefined);
      expect([...textTokens(made, 'a')]).toEqual(
        bos === undefined ? [...made.encode('a')] : [bos, ...made.encode('a')],
      );
      if (bos === 0) expect([...textTokens(made, '<|endoftext|>a')]).toEqual([...textTokens(made, 'a')]);
      return made.bosTokenId;
    };
    const bos_token = '<|endoftext|>';
    const templated = (...single: unknown[]) => ({ type: 'TemplateProcessing', single, pair: [] });
    const adds = (id: string) => templated({ SpecialToken: { id, type_id: 0 } }, { Sequence: { id: 'A' } });
    const byteLevel = { type: 'ByteLevel' };
    expect(starts({ bos_token })).toBeUndefined();
    expect(starts({ bos_token, add_bos_token: false }, adds(bos_token))).toBeUndefined();
    expect(starts({ bos_token: { content: bos_token }, add_bos_token: true })).toBe(0);
    expect(starts({ bos_token }, adds(bos_token))).toBe(0);
    expect(starts(undefined, { type: 'Sequence', processors: [byteLevel, adds('!')] })).toBe(1);
    expect(starts(undefined, { type: 'RobertaProcessing', sep: ['!', 1], cls: ['!', 1] })).toBe(1);
    for (const other of [null, byteLevel, templated({ Sequence: { id: 'A' } }), templated(5), templated()])
      expect(starts({ bos_token }, other)).toBeUndefined();
    expect(() =>
      createTokenizer(json, { add_bos_token: true, bos_token: '<s>' }, 'm/tokenizer.json'),
    ).toThrow(
      'm/tokenizer.json: the vocabulary has no token "<s>", which tokenizer_config.json names as bos_token',
    );
  });

  it('refuse what has no UTF-8', () => {
    expect(() => tokenizer.encode('ab\ud83d')).toThrow(
      'encode: the text has a lone surrogate (U+D83D) at index 2',
    );
    expect(() => tokenizer.encode('\ude42\ud83d')).toThrow('(U+DE42) at index 0');
    expect(() => tokenizer.encode(5 as never)).toThrow(new TypeError('encode: expected a text; got 5'));
  });

  it.each([[8192], [-1], [1.5], [Number.NaN]])('refuse id %d', wrong => {
    const sentence = `token ${wrong} is out of range 0 … 8191 at position 2`;
    expect(() => tokenizer.decode([1, 2, wrong])).toThrow(new RangeError(sentence));
    expect(() => streamed([1, 2, wrong])).toThrow(new RangeError(sentence));
  });
});

describe('stream', () => {
  it('pushes add up to decode, for any ids', () => {
    fc.assert(
      fc.property(idList, fc.boolean(), (ids, skipSpecial) => {
        expect(streamed(ids, { skipSpecial }).join('')).toBe(tokenizer.decode(ids, { skipSpecial }));
      }),
      { numRuns: 1000 },
    );
  });

  it('splits no character, whatever the bytes it comes in', () => {
    fc.assert(
      fc.property(text, t => {
        const ids = Array.from(new TextEncoder().encode(t), byte => byteToken(byte));
        const pushes = streamed(ids);
        expect(pushes.join('')).toBe(t);
        expect(pushes.at(-1)).toBe('');
        for (const push of pushes) expect([...push].length).toBeLessThanOrEqual(1);
        expect(pushes.filter(push => push !== '')).toEqual([...t]); // each with its last byte, not later
      }),
      { numRuns: 500 },
    );
  });

  it('shows a byte that is wrong as U+FFFD once the next proves it', () => {
    expect(streamed([0xf0, 0x9f, 0x41].map(byteToken))).toEqual(['', '', '\ufffdA', '']);
    expect(streamed([0xf0, 0x9f].map(byteToken))).toEqual(['', '', '\ufffd']);
    expect(streamed([0x80].map(byteToken))).toEqual(['\ufffd', '']);
  });

  it('starts anew after end', () => {
    const stream = tokenizer.stream();
    stream.push(byteToken(0xf0));
    stream.end();
    expect(stream.push(byteToken(0x41))).toBe('A');
    expect(() => stream.push(-1)).toThrow('at position 1');
  });
});

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, use_regex: false };
const cutBy = (step: object) => ({
  ...json,
  pre_tokenizer: { type: 'Sequence', pretokenizers: [step, byteLevel] },
});
const splitBy = (regex: string) =>
  createTokenizer(cutBy({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated' }));

describe('ids are those of the tokenizers in Rust', () => {
  const goldens = new URL('../../golden/tokenizer-ids/', import.meta.url);
  it.each(readdirSync(goldens))('%s', name => {
    const { change, texts } = JSON.parse(readFileSync(new URL(name, goldens), 'utf8'));
    const { encode } = createTokenizer({ ...json, ...change, model: { ...json.model, ...change.model } });
    for (const [text, ids] of texts) expect([text, [...encode(text)]]).toEqual([text, ids]);
  });
});

describe('a pattern', () => {
  // The first take for ever on a text that nearly matches, the others grow with a power of its length.
  it.each([
    '(a+)+$',
    '(a|a)*b',
    '(?:a|aa)+$',
    '(?:a*)*b',
    '(?:a{1,9}){9}b',
    'a?a?a?a?aaaa',
    'a{1,30}',
    'a*a*a*b',
    'a+b',
    '[^b]*[ab]+',
    '.*=',
    '(?=a*b)',
    '(?<=a+)b',
    '(a)\\1+',
    '\\s*[\\r\\n]+x',
    'x(?:\\s+(?!\\S))+',
    `${'a?'.repeat(5000)}b`,
    'a'.repeat(5000),
    `${'aaaa|'.repeat(300)}(`, // the check itself may not go back
    `${'\\s*[\\r\\n]+|a?a?|'.repeat(80)}(`,
  ])('that may go back for long is refused: %s', regex => {
    expect(() => splitBy(regex)).toThrow(
      /^tokenizer.json: pre_tokenizer.pretokenizers\[0\].pattern.Regex expected a pattern that takes no longer than its text/,
    );
    const replace = { type: 'Replace', pattern: { Regex: regex }, content: '' };
    expect(() => createTokenizer({ ...json, normalizer: replace })).toThrow(
      /^tokenizer.json: normalizer.pattern.Regex expected/,
    );
  });

  it.each([
    '[0-9][0-9][0-9]', // falcon
    '\\p{N}{1,3}', // deepseek
    '[一-龥぀-ゟ゠-ヿ]+',
    '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", // gpt-2
    ' ?[^(\\s|[.,!?…。，、।۔،])]+', // bloom
    '\\s?\\p{L}+|[ \\t]+',
  ])('of a published tokenizer, or like one, is taken: %s', regex => {
    const { encode, decode } = splitBy(regex);
    expect(decode(encode('The “old” man, 1234 of\r\n 3+4 中文.'))).toBe(
      'The “old” man, 1234 of\r\n 3+4 中文.',
    );
  });

  it('is quick on a long text', () => {
    // All branches, and the ones that go back, on runs that never end as the branch wants.
    const { encode } = splitBy('\\s*[\\r\\n]+|\\s+(?!\\S)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\s+|.+');
    expect(encode(`${' '.repeat(1e4)}${'!'.repeat(1e4)}`).length).toBeGreaterThan(0);
  });
});

describe('a tokenizer.json that cannot be used', () => {
  const model = (change: object) => ({ ...json, model: { ...json.model, ...change } });
  const { Ġ: _, ...withoutSpace } = json.model.vocab;
  it.each<[string, unknown, string]>([
    ['nothing', null, 'expected a tokenizer (a JSON object); got null'],
    ['a list', [1], 'expected a tokenizer (a JSON object); got [1]'],
    ['another file', { hidden_size: 5 }, 'model.type expected "BPE"; got nothing'],
    ['another model', model({ type: 'Unigram' }), 'model.type expected "BPE"; got "Unigram"'],
    ['no vocabulary', model({ vocab: [] }), 'model.vocab expected an object; got []'],
    [
      'a fraction as id',
      model({ vocab: { ...json.model.vocab, a: 1.5 } }),
      'model.vocab "a" expected an id from 0 to 16777215; got 1.5',
    ],
    [
      'a huge id',
      model({ vocab: { ...json.model.vocab, zz: 2 ** 40 } }),
      'model.vocab "zz" expected an id from 0 to 16777215; got 1099511627776',
    ],
    [
      'an id twice',
      model({ vocab: { ...json.model.vocab, zzz: 1 } }),
      'model.vocab "zzz" expected an id of its own ("!" has it too); got 1',
    ],
    [
      'a byte without token',
      model({ vocab: withoutSpace }),
      'model.vocab expected a token "Ġ" for byte 32; got nothing',
    ],
    ['no merges', model({ merges: undefined }), 'model.merges expected an array; got nothing'],
    [
      'an unknown merge',
      model({ merges: [['a', '☃']] }),
      'model.merges[0] expected two tokens that together are a token; got ["a", "☃"]',
    ],
    [
      'a merge of one',
      model({ merges: ['a'] }),
      'model.merges[0] expected two tokens that together are a token; got "a"',
    ],
    [
      'another decoder',
      { ...json, decoder: { type: 'Metaspace' } },
      'decoder.type expected "ByteLevel"; got "Metaspace"',
    ],
    [
      'another pre-tokenizer',
      { ...json, pre_tokenizer: { type: 'Whitespace' } },
      'pre_tokenizer expected a ByteLevel step; got "Whitespace"',
    ],
    [
      'an unknown normalizer',
      { ...json, normalizer: { type: 'Magic' } },
      'normalizer.type expected NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Prepend, Replace or Sequence; got "Magic"',
    ],
    [
      'an unknown step in steps',
      cutBy({ type: 'Sequence', pretokenizers: [{ type: 'Whitespace' }] }),
      'pre_tokenizer.pretokenizers[0].pretokenizers[0].type expected ByteLevel, Split, Digits, Punctuation or Sequence; got "Whitespace"',
    ],
    [
      'a pattern of no form',
      cutBy({ type: 'Split', pattern: 'a', behavior: 'Isolated' }),
      'pre_tokenizer.pretokenizers[0].pattern expected { "String": … } or { "Regex": … }; got "a"',
    ],
    [
      'a pattern that is no pattern',
      cutBy({ type: 'Split', pattern: { Regex: '\\p{Nothing}' }, behavior: 'Isolated' }),
      'pre_tokenizer.pretokenizers[0].pattern.Regex: "\\\\p{Nothing}" cannot be used (Invalid regular expression: /\\p{Nothing}/gu: Invalid property name)',
    ],
    [
      'a behaviour of no name',
      cutBy({ type: 'Split', pattern: { String: 'a' }, behavior: 'Kept' }),
      'pre_tokenizer.pretokenizers[0].behavior expected Isolated or Removed or Contiguous or MergedWithPrevious or MergedWithNext; got "Kept"',
    ],
    [
      'a template without parts',
      { ...json, post_processor: { type: 'TemplateProcessing' } },
      'post_processor.single expected an array; got nothing',
    ],
    [
      'an unknown post-processor',
      { ...json, post_processor: {} },
      'post_processor.type expected ByteLevel or TemplateProcessing or BertProcessing or RobertaProcessing; got nothing',
    ],
    ['a normalizer that is a list', { ...json, normalizer: [] }, 'normalizer expected an object; got []'],
    [
      'a long text before all',
      { ...json, normalizer: { type: 'Prepend', prepend: 'a'.repeat(1e7) } },
      `normalizer.prepend expected a text that makes an input at most 64 times as long; got "${'a'.repeat(80)}…"`,
    ],
    [
      'doublings',
      {
        ...json,
        normalizer: {
          type: 'Sequence',
          normalizers: Array.from({ length: 30 }, () => ({
            type: 'Replace',
            pattern: { String: 'a' },
            content: 'aa',
          })),
        },
      },
      'normalizer.normalizers[6].content expected a text that makes an input at most 64 times as long; got "aa"',
    ],
    [
      'hundreds of steps',
      { ...json, normalizer: { type: 'Sequence', normalizers: Array(200).fill({ type: 'NFC' }) } },
      'normalizer expected at most 32 steps; got 200',
    ],
    [
      'an added token that the vocabulary has under another id',
      { ...json, added_tokens: [{ content: 'a', id: 9000 }] },
      `added_tokens[0].id expected ${json.model.vocab.a}, as in model.vocab; got 9000`,
    ],
    [
      'an added token of a million letters',
      { ...json, added_tokens: [{ content: 'a'.repeat(1e6), id: 9000 }] },
      `added_tokens[0].content expected a text of at most 256 characters; got "${'a'.repeat(80)}…"`,
    ],
    ['dropout', model({ dropout: 0.1 }), 'model.dropout expected none (byte-level BPE has none); got 0.1'],
    [
      'added tokens of no form',
      { ...json, added_tokens: ['x'] },
      'added_tokens[0].content expected a text of at most 256 characters; got nothing',
    ],
    [
      'an added token without id',
      { ...json, added_tokens: [{ content: 'x' }] },
      'added_tokens[0].id expected an id from 0 to 16777215; got nothing',
    ],
  ])('%s', (_name, wrong, sentence) => {
    expect(() => createTokenizer(wrong, undefined, 'm/tokenizer.json')).toThrow(
      expect.objectContaining({ message: `m/tokenizer.json: ${sentence}` }),
    );
  });

  it('an eos token that is not there', () => {
    expect(() => createTokenizer(json, { eos_token: '</s>' })).toThrow(
      'tokenizer.json: the vocabulary has no token "</s>", which tokenizer_config.json names as eos_token',
    );
  });

  it('a token outside the alphabet of bytes stands for its own text', () => {
    const other = createTokenizer(model({ vocab: { ...json.model.vocab, '日 é': 8192 } }));
    expect(other.decode([8192])).toBe('日 é');
  });

  it('merges written as text, and ids with holes, are usable', () => {
    const merges = json.model.merges.map((pair: string | string[]) =>
      Array.isArray(pair) ? pair.join(' ') : pair,
    );
    const added = [...json.added_tokens, { id: 9000, content: '<x>', special: false }];
    const other = createTokenizer({ ...model({ merges }), added_tokens: added });
    expect([...other.encode('The old man<x>')]).toEqual([...tokenizer.encode('The old man'), 9000]);
    expect(other.vocabSize).toBe(9001);
    expect(other.decode([9000, 8999, 9000])).toBe('<x><x>');
  });
});
