import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { createTokenizer, type Tokenizer } from '../../src/formats/tokenizer.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { createSession, type Session } from '../../src/session.ts';
import { type Tensor, zeros } from '../../src/tensor.ts';
import { type Generated, type GenerateOptions, generate, type Piece } from '../../src/text/generate.ts';
import { stopFilter } from '../../src/text/stops.ts';
import { turn } from '../../src/turn.ts';
import { runnableOf, toy } from '../toy.ts';

const file = new URL('../../models/mamba-books-15m/tokenizer.json', import.meta.url);
const tokenizer = createTokenizer(JSON.parse(readFileSync(file, 'utf8')));
const EOS = tokenizer.eosTokenId!;

interface Script extends Session {
  readonly fed: number[];
  readonly sizes: number[];
}
/** A session that wants the ids of the script in their order, once the prompt is fed, and then eos. */
function scripted(
  ids: ArrayLike<number>,
  promptLength = 1,
  vocabSize = tokenizer.vocabSize,
  context = Infinity,
): Script {
  const fed: number[] = [];
  const sizes: number[] = [];
  let last: Float32Array | undefined;
  const unused = () => {
    throw new Error('not used here');
  };
  return {
    fed,
    sizes,
    vocabSize,
    context,
    get position() {
      return fed.length;
    },
    get logits() {
      return last;
    },
    feed(tokens) {
      const logits = zeros('f32', [tokens.length, vocabSize]);
      for (let t = 0; t < tokens.length; t++) {
        fed.push(tokens[t]);
        const next = fed.length - promptLength;
        logits.data[t * vocabSize + (next < 0 ? 1 : (ids[next] ?? EOS))] = 100;
      }
      sizes.push(tokens.length);
      last = logits.data.slice(-vocabSize);
      return logits;
    },
    async feedTogether(tokens) {
      await turn();
      return this.feed(tokens);
    },
    reset: unused,
    snapshot: unused,
    restore: unused,
    fork: unused,
    close: unused,
  };
}

async function collect(writing: AsyncGenerator<Piece, Generated>) {
  const pieces: Piece[] = [];
  for (;;) {
    const next = await writing.next();
    if (next.done) return { pieces, ...next.value };
    pieces.push(next.value);
  }
}
/** Writes the script greedily after the prompt token 1. */
const written = (ids: ArrayLike<number>, options: GenerateOptions = {}) =>
  collect(generate(scripted(ids), tokenizer, [1], { temperature: 0, ...options }));

const anyIds = fc.array(fc.integer({ min: 1, max: 600 }), { maxLength: 20 });

describe('generate', () => {
  it('pieces add up to the text, one for each token, and the text is decode(tokens)', async () => {
    await fc.assert(
      fc.asyncProperty(anyIds, fc.integer({ min: 1, max: 25 }), async (ids, maxTokens) => {
        const { pieces, text, tokens, finishReason } = await written(ids, { maxTokens });
        expect(finishReason).toBe(ids.length < maxTokens ? 'eos' : 'length');
        expect([...tokens]).toEqual([...ids, EOS].slice(0, maxTokens));
        expect(pieces.map(p => p.token)).toEqual([...tokens]);
        expect(pieces.map(p => p.position)).toEqual([...tokens].map((_, i) => 1 + i));
        expect(pieces.map(p => p.text).join('')).toBe(text);
        expect(text).toBe(tokenizer.decode(tokens));
      }),
    );
  });

  it('feeds the prompt and every token, and shows the logits of all but the last in order', async () => {
    const ids = tokenizer.encode('a quiet evening by the river');
    const prompt = Int32Array.from({ length: 300 }, (_, i) => 1 + (i % 500));
    const session = scripted(ids, prompt.length);
    const seen: Tensor<'f32'>[] = [];
    const { tokens, promptTokens } = await collect(
      generate(session, tokenizer, prompt, { temperature: 0, maxTokens: 4, onLogits: l => seen.push(l) }),
    );
    expect(promptTokens).toEqual(prompt);
    expect(session.fed).toEqual([...prompt, ...tokens]);
    expect(seen.map(l => l.shape[0])).toEqual(session.sizes.slice(0, -1));
    expect(Math.max(...session.sizes)).toBeLessThan(prompt.length); // in parts
    const wanted = seen.flatMap(({ data, shape: [l, v] }) =>
      Array.from({ length: l }, (_, t) => data.subarray(t * v, (t + 1) * v).indexOf(100)),
    );
    expect(wanted.slice(prompt.length - 1)).toEqual([...tokens]);
  });

  it('ends where the context does, with every token fed, and refuses a prompt that leaves no room', async () => {
    const room = fc.integer({ min: 1, max: 12 });
    await fc.assert(
      fc.asyncProperty(anyIds, room, room, room, async (ids, prompt, context, maxTokens) => {
        const session = scripted(ids, prompt, tokenizer.vocabSize, context);
        const how = { temperature: 0, maxTokens };
        const begin = () => generate(session, tokenizer, Array(prompt).fill(1), how);
        if (prompt >= context) {
          expect(begin).toThrow(
            new RangeError(
              `prompt: up to its end the text has ${prompt} tokens, which leaves no room in the context of ${context}; --context ${prompt + 1} or { context: ${prompt + 1} } makes room`,
            ),
          );
          expect(session.fed).toEqual([]);
          return;
        }
        const { tokens, finishReason } = await collect(begin());
        const whole = [...ids, EOS];
        const most = Math.min(whole.length, maxTokens, context - prompt);
        expect([...tokens]).toEqual(whole.slice(0, most));
        expect(session.fed).toHaveLength(prompt + most);
        const why = most === whole.length ? 'eos' : most === maxTokens ? 'length' : 'context';
        expect(finishReason).toBe(why);
      }),
    );
    const full = scripted([], 4, tokenizer.vocabSize, 4);
    const { tokens } = await collect(generate(full, tokenizer, [1, 1, 1, 1], { maxTokens: 0 }));
    expect([full.fed.length, tokens.length]).toEqual([4, 0]);
    expect(() => generate(full, tokenizer, [])).toThrow('has 4 tokens, which leaves no room in the context');
  });

  it('goes on where the session stands', async () => {
    const session = scripted([5, 6, 7], 4);
    session.feed([9, 9, 9]);
    const { pieces } = await collect(generate(session, tokenizer, [1], { temperature: 0, maxTokens: 2 }));
    expect(pieces.map(({ token, position }) => ({ token, position }))).toEqual([
      { token: 5, position: 4 },
      { token: 6, position: 5 },
    ]);
  });

  it('feeds only those tokens of the prompt that the session has not been fed, with the same result', async () => {
    const runnable = runnableOf(toy, recipes.fp32, 'fp32');
    const bytes: Tokenizer = {
      ...tokenizer,
      vocabSize: 32,
      endTokenIds: [],
      has: () => true,
      bytesOf: () => new Uint8Array(0),
      stream: () => ({ push: String, end: () => '' }),
    };
    const prompt = [3, 1, 4, 1, 5, 9];
    const how = { temperature: 1, maxTokens: 6, repetitionPenalty: 3 };
    const write = async (fed: number) => {
      const session = createSession(runnable);
      if (fed > 0) session.feed(prompt.slice(0, fed));
      const {
        pieces: _,
        promptSeconds: __,
        decodeSeconds: ___,
        ...all
      } = await collect(generate(session, bytes, prompt, { ...how, fed }));
      return { ...all, position: session.position };
    };
    const whole = await write(0);
    expect(whole.position).toBe(12);
    for (const fed of [1, 5, 6]) expect(await write(fed)).toEqual(whole);
    for (const fed of [1, -1, 0.5, '1' as never])
      expect(() => generate(createSession(runnable), bytes, prompt, { fed })).toThrow(
        'fed expected a whole number from 0 to 0; got ',
      );
  });

  it('begins a text, and nothing else, with the token that the tokenizer adds', async () => {
    const adding: Tokenizer = { ...tokenizer, bosTokenId: 7 };
    const promptOf = async (session: Session, prompt: string | number[]) => [
      ...(await collect(generate(session, adding, prompt, { maxTokens: 0 }))).promptTokens,
    ];
    const ids = [...tokenizer.encode('The old man')];
    expect(await promptOf(scripted([]), 'The old man')).toEqual([7, ...ids]);
    expect(await promptOf(scripted([]), '')).toEqual([7]);
    expect(await promptOf(scripted([]), ids)).toEqual(ids);
    const later = scripted([]);
    later.feed([1]);
    expect(await promptOf(later, 'The old man')).toEqual(ids);
  });

  it('goes on with an empty prompt where it stopped: in a restored session, after a break, an abort, a stop text', async () => {
    const runnable = runnableOf(toy, recipes.quamba, 'quamba');
    const bytes: Tokenizer = {
      vocabSize: 32,
      eosTokenId: undefined,
      endTokenIds: [],
      has: () => true,
      encode: text => Int32Array.from(text, char => char.charCodeAt(0) % 32),
      decode: ids => Array.from(ids, id => String.fromCharCode(64 + id)).join(''),
      bytesOf: () => new Uint8Array(0),
      stream: () => ({ push: id => String.fromCharCode(64 + id), end: () => '' }),
    };
    const greedy = { temperature: 0 };
    const whole = await collect(
      generate(createSession(runnable), bytes, [3, 1, 4], { ...greedy, maxTokens: 12 }),
    );
    const fed = createSession(runnable);
    fed.feed([3, 1, 4]);
    const again = () => {
      const session = createSession(runnable);
      session.restore(fed.snapshot());
      return session;
    };
    const on = async (session: Session, most: number) => [
      ...(await collect(generate(session, bytes, '', { ...greedy, maxTokens: most }))).tokens,
    ];
    const all = [...whole.tokens];
    expect(await on(again(), 12)).toEqual(all);

    const inParts = again();
    const parts = [await on(inParts, 5)];
    const next = createSession(runnable);
    next.restore(inParts.snapshot());
    parts.push(await on(next, 7));
    expect(parts.flat()).toEqual(all);

    const left = again();
    let seen = 0;
    for await (const _ of generate(left, bytes, [], greedy)) if (++seen === 4) break;
    expect(await on(left, 8)).toEqual(all.slice(4));

    const abort = new AbortController();
    const aborted = again();
    const onLogits = () => aborted.position === 5 && abort.abort();
    const { tokens } = await collect(
      generate(aborted, bytes, '', { ...greedy, signal: abort.signal, onLogits }),
    );
    expect(await on(aborted, 12 - tokens.length)).toEqual(all.slice(tokens.length));

    const stopped = again();
    const stop = [bytes.decode(all.slice(2, 3))];
    const until = await collect(generate(stopped, bytes, '', { ...greedy, stop }));
    expect(await on(stopped, 12 - until.tokens.length)).toEqual(all.slice(until.tokens.length));
  });

  it('shows logits to a processor, and draws from what it returns', async () => {
    for (const later of [false, true]) {
      const asked: number[][] = [];
      const logitsProcessor = (logits: Float32Array, tokens: readonly number[]) => {
        asked.push([...tokens]);
        logits[5] = Number.NEGATIVE_INFINITY;
        logits[7 + asked.length] = 50;
        return later ? Promise.resolve(logits) : logits;
      };
      const session = scripted([5, 5, 5]);
      const { tokens } = await collect(
        generate(session, tokenizer, [1], { temperature: 0, maxTokens: 3, logitsProcessor }),
      );
      expect([...tokens]).toEqual([8, 9, 10]);
      expect(asked).toEqual([[1], [1, 8], [1, 8, 9]]);
      expect(session.logits![EOS]).toBe(100); // its own are as they were
    }
    for (const returned of [undefined, [1, 2], new Float32Array(3)])
      await expect(written([5], { logitsProcessor: () => returned as Float32Array })).rejects.toThrow(
        `logitsProcessor expected to return ${tokenizer.vocabSize} logits in a Float32Array; got `,
      );
  });

  it('gives log probabilities of the model, whatever is drawn', async () => {
    const forbid5 = (logits: Float32Array) => logits.fill(Number.NEGATIVE_INFINITY, 5, 6);
    for (const logitsProcessor of [undefined, forbid5]) {
      const { pieces } = await written([5], {
        maxTokens: 1,
        logprobs: 2,
        temperature: 0,
        logitsProcessor,
      });
      const z = 100 + Math.log1p((tokenizer.vocabSize - 1) * Math.exp(-100));
      const [{ token, logprob, likeliest }] = pieces;
      expect(token).toBe(logitsProcessor ? 0 : 5);
      expect(logprob).toBeCloseTo((token === 5 ? 100 : 0) - z, 10);
      expect(likeliest!.map(each => each.token)).toEqual([5, 0]);
      expect(likeliest![0].logprob).toBeCloseTo(100 - z, 10);
    }
    expect((await written([5], { logprobs: 0, maxTokens: 1 })).pieces[0].likeliest).toEqual([]);
    expect((await written([5], { maxTokens: 1 })).pieces[0]).not.toHaveProperty('logprob');
    expect(() => generate(scripted([]), tokenizer, [1], { logprobs: 1.5 })).toThrow(
      new RangeError('logprobs expected a whole number >= 0; got 1.5'),
    );
  });

  it('says that messages of a chat are no prompt', () => {
    const chat = [{ role: 'user', content: 'Hi' }] as never;
    expect(() => generate(scripted([]), tokenizer, chat)).toThrow(
      new TypeError(
        'prompt expected a text or token ids; got an object at position 0 (model.chat answers the messages of a chat)',
      ),
    );
  });

  it('takes a text as its tokens, and an empty one as eos', async () => {
    for (const prompt of ['The old man', '', []]) {
      const session = scripted([]);
      const { promptTokens } = await collect(generate(session, tokenizer, prompt, { maxTokens: 0 }));
      expect([...promptTokens]).toEqual(prompt.length ? [...tokenizer.encode('The old man')] : [EOS]);
      expect(session.fed).toEqual([...promptTokens]);
    }
    const nameless: Tokenizer = { ...tokenizer, eosTokenId: undefined };
    expect(() => generate(scripted([]), nameless, '')).toThrow(
      new RangeError('prompt expected at least one token; got none, and no eos token to start from'),
    );
  });

  it('draws no hole after an empty prompt either, and has none among the likeliest', async () => {
    const session = scripted([7]);
    session.feed([1]);
    const holed: Tokenizer = { ...tokenizer, has: id => id === 5 || id === 6 };
    const { pieces } = await collect(
      generate(session, holed, [], { temperature: 0, maxTokens: 1, logprobs: 3 }),
    );
    expect(pieces[0].token).toBe(5);
    expect(pieces[0].likeliest?.map(({ token }) => token)).toEqual([5, 6]);
  });

  it('ends at every token that ends a text', async () => {
    const many: Tokenizer = { ...tokenizer, endTokenIds: [EOS, 7, 600] };
    for (const end of many.endTokenIds) {
      const { text, tokens, finishReason } = await collect(
        generate(scripted([5, end, 6]), many, [1], { temperature: 0 }),
      );
      expect({ text, tokens: [...tokens], finishReason }).toEqual({
        ...{ text: tokenizer.decode([5]), tokens: [5, end], finishReason: 'eos' },
      });
    }
  });

  it('draws no token that no file names, in a hole of the vocabulary or beyond its end', async () => {
    const json = JSON.parse(readFileSync(file, 'utf8'));
    json.added_tokens.push({ id: 8300, content: '<far>', special: true });
    const holed = createTokenizer(json, undefined, 'tokenizer.json', [8290]);
    expect([8191, 8192, 8290, 8299, 8300, 8301].filter(holed.has)).toEqual([8191, 8290, 8300]);
    const onLogits = (logits: Tensor<'f32'>) => expect(logits.data.every(Number.isFinite)).toBe(true);
    for (const [wanted, got] of [
      [8300, 8300],
      [8290, 8290],
      [8192, 0],
      [8301, 0],
    ])
      for (const vocabSize of [8304, 8301])
        if (wanted < vocabSize) {
          const session = scripted([wanted], 1, vocabSize);
          const options = { temperature: 0, maxTokens: 1, onLogits };
          expect([...(await collect(generate(session, holed, [1], options))).tokens]).toEqual([got]);
        }
  });

  it('counts the time of the session, not of the caller', async () => {
    let clock = 0;
    const now = vi.spyOn(performance, 'now').mockImplementation(() => clock);
    const session = scripted([5, 6, 7, 8], 2);
    const feed = session.feed;
    session.feed = tokens => {
      clock += 1000 * tokens.length;
      return feed(tokens);
    };
    const onLogits = () => {
      clock += 50_000;
    };
    try {
      const writing = generate(session, tokenizer, [1, 2], { maxTokens: 4, onLogits });
      expect(await collect(writing)).toMatchObject({ promptSeconds: 2, decodeSeconds: 3 });
    } finally {
      now.mockRestore();
    }
  });

  it('writes nothing for maxTokens 0', async () => {
    const { text, tokens, finishReason } = await written([5], { maxTokens: 0 });
    expect({ text, tokens, finishReason }).toEqual({
      text: '',
      tokens: new Int32Array(0),
      finishReason: 'length',
    });
  });

  it('never draws the padding rows of a model', async () => {
    const padded = scripted([8195, 8192], 1, 8200);
    const { tokens } = await collect(generate(padded, tokenizer, [8199], { seed: 3, maxTokens: 2, topP: 1 }));
    for (const token of tokens) expect(token).toBeLessThan(8192);
  });

  it('the same seed writes the same text', async () => {
    const flat = () => scripted(Array(99).fill(-1)); // no wish: all logits are equal
    const write = async (seed: number) => [
      ...(await collect(generate(flat(), tokenizer, [1], { seed, maxTokens: 12 }))).tokens,
    ];
    expect(await write(7)).toEqual(await write(7));
    expect(await write(7)).not.toEqual(await write(8));
  });

  it('penalizes what stood in the prompt and what was written', async () => {
    const session = scripted(Array(9).fill(3));
    const { tokens } = await collect(
      generate(session, tokenizer, [1], { temperature: 0, repetitionPenalty: 1e6, maxTokens: 2 }),
    );
    expect([...tokens]).toEqual([3, 3]); // 100 / 1e6 is still above 0
    const equal = scripted(Array(9).fill(-1));
    const feed = equal.feed.bind(equal);
    equal.feed = ids => {
      const logits = feed(ids);
      logits.data.fill(1);
      return logits;
    };
    const other = await collect(
      generate(equal, tokenizer, [0, 2], { temperature: 0, repetitionPenalty: 2, maxTokens: 4 }),
    );
    expect([...other.tokens]).toEqual([1, 3, 4, 5]);
  });

  it.each<[unknown, GenerateOptions, string]>([
    [[0, 1, 2, 9000], {}, 'token 9000 is out of range 0 … 8191 at position 3'],
    [[0, -1], {}, 'token -1 is out of range 0 … 8191 at position 1'],
    [[0.5], {}, 'token 0.5 is out of range 0 … 8191 at position 0'],
    [[undefined], {}, 'token undefined is out of range 0 … 8191 at position 0'],
    [undefined, {}, 'prompt expected a text or token ids; got nothing'],
    [null, {}, 'prompt expected a text or token ids; got null'],
    ['a\ud800', {}, 'encode: the text has a lone surrogate (U+D800) at index 1'],
    ['a', { maxTokens: -1 }, 'maxTokens expected a whole number >= 0; got -1'],
    ['a', { temperature: -1 }, 'temperature expected a number >= 0; got -1'],
    ['a', { stop: 'x' as never }, 'stop expected an array of texts; got "x"'],
    ['a', { stop: ['x', ''] }, 'stop[1] expected a text of at least one character; got ""'],
  ])('refuses %j with %j before anything is fed', (prompt, options, sentence) => {
    const session = scripted([]);
    expect(() => generate(session, tokenizer, prompt as string, options)).toThrow(sentence);
    expect(session.fed).toEqual([]);
  });
});

describe('abort', () => {
  it('ends between tokens, from outside the loop', async () => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 5);
    const { text, tokens, pieces, finishReason } = await written(Array(100_000).fill(5), {
      maxTokens: 100_000,
      signal: abort.signal,
    });
    expect(finishReason).toBe('aborted');
    expect(tokens.length).toBeLessThan(100_000);
    expect(pieces.map(p => p.text).join('')).toBe(text);
  });

  it('feeds nothing where it came first, and not the rest of a long prompt', async () => {
    const session = scripted([]);
    const result = await collect(generate(session, tokenizer, [1], { signal: AbortSignal.abort() }));
    expect(result).toMatchObject({ finishReason: 'aborted', text: '', pieces: [] });
    expect(session.fed).toEqual([]);

    const abort = new AbortController();
    const long = Int32Array.from({ length: 1000 }, () => 2);
    const options = { signal: abort.signal, onLogits: () => abort.abort() };
    expect((await collect(generate(session, tokenizer, long, options))).finishReason).toBe('aborted');
    expect(session.fed.length).toBeLessThan(1000);
  });

  it('a consumer that breaks ends it', async () => {
    const session = scripted([5, 6, 7, 8]);
    for await (const { token } of generate(session, tokenizer, [1], { temperature: 0 }))
      if (token === 6) break;
    expect(session.fed).toEqual([1, 5, 6]);
  });
});

/** Few letters, so that stop strings overlap themselves and each other. */
const letters = fc.string({ unit: fc.constantFrom('a', 'b', '🙂'), maxLength: 24 });
const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '🙂'), minLength: 1, maxLength: 4 }), {
  maxLength: 3,
});
/** The definition: read character by character until the text read ends with a stop string. */
function cutAt(text: string, stops: readonly string[]): string | undefined {
  for (let end = 1; end <= text.length; end++) {
    const hit = stops.filter(stop => text.slice(0, end).endsWith(stop)).map(stop => stop.length);
    if (hit.length) return text.slice(0, end - Math.max(...hit));
  }
  return undefined;
}

describe('stop strings', () => {
  it('end the text at the first that is complete, however the pieces are cut', () => {
    fc.assert(
      fc.property(letters, stops, fc.array(fc.integer({ min: 1, max: 3 })), (text, stops, cuts) => {
        const filter = stopFilter(stops);
        const chars = [...text];
        let shown = '';
        let stopped = false;
        for (let i = 0; chars.length && !stopped; i++) {
          const pushed = filter.push(chars.splice(0, cuts[i] ?? 1).join(''));
          shown += pushed.text;
          stopped = pushed.stopped;
          for (const stop of stops) expect(shown).not.toContain(stop);
        }
        if (!stopped) shown += filter.end();
        expect(shown).toBe(cutAt(text, stops) ?? text);
        expect(stopped).toBe(cutAt(text, stops) !== undefined);
      }),
      { numRuns: 2000 },
    );
  });

  it('hold back no more than the beginning of a stop string', () => {
    fc.assert(
      fc.property(letters, stops, (text, stops) => {
        fc.pre(cutAt(text, stops) === undefined);
        const filter = stopFilter(stops);
        const shown = filter.push(text).text;
        const held = text.slice(shown.length);
        expect(held === '' || stops.some(stop => stop.startsWith(held))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('cut what generate writes, in any tokens', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(' a', 'th', 'he', ' the', 'e', '🙂')),
        stops,
        async (parts, stops) => {
          const ids = parts.flatMap(part => [...tokenizer.encode(part)]);
          const whole = tokenizer.decode(ids);
          const stop = [...stops, 'e t', 'h🙂'];
          const { text, pieces, tokens, finishReason } = await written(ids, {
            stop,
            maxTokens: ids.length + 1,
          });
          expect(text).toBe(cutAt(whole, stop) ?? whole);
          expect(pieces.map(p => p.text).join('')).toBe(text);
          expect(pieces).toHaveLength(tokens.length);
          expect(finishReason).toBe(cutAt(whole, stop) === undefined ? 'eos' : 'stop');
        },
      ),
    );
  });

  it('win over the length, and what was held comes out at the end', async () => {
    const ids = tokenizer.encode('one two');
    const at = { maxTokens: ids.length };
    expect(await written(ids, { ...at, stop: ['two'] })).toMatchObject({
      text: 'one ',
      finishReason: 'stop',
    });
    expect(await written(ids, { ...at, stop: ['two!'] })).toMatchObject({
      text: 'one two',
      finishReason: 'length',
    });
  });

  it('see what is still to come out when the text ends', async () => {
    const broken = tokenizer.encode('🙂').slice(0, 1);
    expect(tokenizer.decode(broken)).toBe('\ufffd');
    expect(await written(broken)).toMatchObject({ text: '\ufffd', finishReason: 'eos' });
    expect(await written(broken, { stop: ['\ufffd'] })).toMatchObject({ text: '', finishReason: 'stop' });
  });
});
