import { readFileSync } from 'node:fs';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTokenizer } from '../../src/formats/tokenizer.ts';

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
      'cannot be used (Unknown Normalizer type: Magic)',
    ],
    [
      'added tokens of no form',
      { ...json, added_tokens: ['x'] },
      'added_tokens[0].content expected a text; got nothing',
    ],
    [
      'an added token without id',
      { ...json, added_tokens: [{ content: 'x' }] },
      'added_tokens[0].id expected an id from 0 to 16777215; got nothing',
    ],
  ])('%s', (_name, wrong, sentence) => {
    expect(() => createTokenizer(wrong, undefined, 'm/tokenizer.json')).toThrow(
      new Error(`m/tokenizer.json: ${sentence}`),
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
