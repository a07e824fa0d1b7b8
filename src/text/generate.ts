/** Writes on from a prompt, token by token, and shows the text as it becomes certain. */
import { object, show } from '../formats/json.ts';
import { type Tokenizer, textTokens } from '../formats/tokenizer.ts';
import { once } from '../once.ts';
import type { Session } from '../session.ts';
import type { Tensor } from '../tensor.ts';
import { logSum } from './logits.ts';
import { ranking, type SamplingOptions, sampler } from './sampling.ts';
import { stopFilter } from './stops.ts';

export interface GenerateOptions extends SamplingOptions {
  /** Default: 128. */
  readonly maxTokens?: number;
  /** Texts before which to stop. */
  readonly stop?: readonly string[];
  readonly signal?: AbortSignal;
  /** The session stands after so many of the prompt's tokens: only the others are fed. Default: 0. */
  readonly fed?: number;
  /** Numbers of the prompt's tokens, ascending. When just so many are fed, `onMark` is called. */
  readonly marks?: readonly number[];
  readonly onMark?: (tokens: number) => void;
  /** Gets the logits f32[l, v] of every position fed, in order: the prompt's, then those of each token written but the last. A promise is waited for. */
  readonly onLogits?: (logits: Tensor<'f32'>) => unknown;
  /**
   * Gets a copy of the logits f32[n] of the next token (n are the tokens that may be drawn), and all tokens up to here: the
   * prompt's and those written. Returns the logits to draw from; −Infinity forbids a token.
   */
  readonly logitsProcessor?: (
    logits: Float32Array,
    tokens: readonly number[],
  ) => Float32Array | Promise<Float32Array>;
  /** Gives each piece the log probability of its token, and of so many of the likeliest. */
  readonly logprobs?: number;
}

export interface LogProb {
  readonly token: number;
  /** ln p under the model's own logits, before the processor and the settings of sampling. */
  readonly logprob: number;
}

/** One written token. */
export interface Piece {
  readonly token: number;
  /** The text that became certain with it: often its own, sometimes none, sometimes more. */
  readonly text: string;
  /** Where the token stands in the session's text, from 0. */
  readonly position: number;
  /** With the option `logprobs`. */
  readonly logprob?: number;
  /** With the option `logprobs`: from the likeliest down. */
  readonly likeliest?: readonly LogProb[];
}

/** `length`: there are `maxTokens`. `context`: the text is as long as the context. */
export type FinishReason = 'length' | 'context' | 'stop' | 'eos' | 'aborted';

export interface Generated {
  /**
   * The texts of all pieces together. It is decode(tokens), but for 'stop' cut before the stop string, and for 'aborted'
   * without an end that was not certain yet.
   */
  readonly text: string;
  /** All tokens written, with that which ended the text. */
  readonly tokens: Int32Array;
  readonly promptTokens: Int32Array;
  readonly finishReason: FinishReason;
  /** Up to and with the first token, also while others were fed; without the caller's own time, here or in onLogits. */
  readonly promptSeconds: number;
  /** All other tokens. */
  readonly decodeSeconds: number;
}

/** What is written to: a session, or what feeds as one. */
export type Writable = Pick<Session, 'position' | 'vocabSize' | 'logits' | 'context' | 'feedTogether'>;

/** A prompt is fed in parts (the same bits in any cut), so that its logits need not be in memory together. */
const PROMPT_PART = 128;

/**
 * Feeds the prompt to the session where it stands, then writes. Every token that is written is fed as well, the last one when the
 * writing ends or is left. So a session, also one that was restored, goes on with an empty prompt where it stopped. At the start of a
 * text an empty prompt is the eos token: to a language model the end of a text is the start of the next. Where the tokenizer adds a
 * token to the start of every text (`bosTokenId`), a prompt that is a text begins with it there, once; token ids are fed as they are.
 * Only tokens that the tokenizer knows are drawn: no padding rows of a model, no holes.
 *
 *   for await (const { text } of generate(session, tokenizer, 'The old man')) process.stdout.write(text);
 *
 * @throws RangeError for an option or a token out of its range, and for a prompt after which the context has no room to write, before
 *   anything is fed.
 */
export function generate(
  session: Writable,
  tokenizer: Tokenizer,
  prompt: string | ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<Piece, Generated, void> {
  const {
    maxTokens = 128,
    stop = [],
    signal,
    fed = 0,
    marks = [],
    onMark,
    onLogits,
    logitsProcessor,
    logprobs,
    ...sampling
  } = object(options, 'generate: options') as GenerateOptions;
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 0)
    throw new RangeError(`maxTokens expected a whole number >= 0; got ${maxTokens}`);
  if (logprobs !== undefined && (!Number.isSafeInteger(logprobs) || logprobs < 0))
    throw new RangeError(`logprobs expected a whole number >= 0; got ${logprobs}`);
  const promptTokens = tokensOf(prompt, tokenizer, session);
  const mostFed = Math.min(promptTokens.length, session.position);
  if (!Number.isSafeInteger(fed) || fed < 0 || fed > mostFed)
    throw new RangeError(`fed expected a whole number from 0 to ${mostFed}; got ${show(fed)}`);
  const begin = session.position + promptTokens.length - fed;
  const needed = begin + (maxTokens > 0 ? 1 : 0);
  if (needed > session.context)
    throw new RangeError(
      `prompt: up to its end the text has ${begin} tokens, which leaves no room in the context of ${session.context}; --context ${needed} or { context: ${needed} } makes room`,
    );
  const stops = stopFilter(stop);
  const sample = sampler(sampling);
  const drawable = Math.min(tokenizer.vocabSize, session.vocabSize);
  const holesOf = once(() => [...Array(drawable).keys()].filter(id => !tokenizer.has(id)));
  const stream = tokenizer.stream();
  const history = [...promptTokens];
  const tokens: number[] = [];
  let text = '';
  const seconds = { prompt: 0, decode: 0 };
  const timed = async <T>(phase: keyof typeof seconds, work: () => T): Promise<Awaited<T>> => {
    const start = performance.now();
    const result = await work();
    seconds[phase] += (performance.now() - start) / 1000;
    return result;
  };
  /** Logits in which no hole is drawn. */
  const named = (row: Float32Array): Float32Array => {
    const holes = holesOf();
    if (holes.length === 0) return row;
    const masked = row.slice(); // the row itself is the caller's, or the session's
    for (const id of holes) masked[id] = Number.NEGATIVE_INFINITY;
    return masked;
  };
  /** The logits after the last of these tokens, of those tokens that may be drawn. */
  const feed = async (phase: keyof typeof seconds, part: ArrayLike<number>): Promise<Float32Array> => {
    const logits = await timed(phase, () =>
      // who sees logits sees them of all that is fed
      session.feedTogether(
        part,
        onLogits ? {} : { logits: 'last', signal: phase === 'prompt' ? signal : undefined },
      ),
    );
    await onLogits?.(logits);
    const last = (logits.shape[0] - 1) * logits.shape[1];
    return named(logits.data.subarray(last, last + drawable));
  };
  const draw = async (phase: keyof typeof seconds, logits: Float32Array): Promise<number> => {
    const scores = logitsProcessor ? await logitsProcessor(logits.slice(), history) : logits;
    if (!(scores instanceof Float32Array) || scores.length !== logits.length)
      throw new TypeError(
        `logitsProcessor expected to return ${logits.length} logits in a Float32Array; got ${show(scores)}`,
      );
    return timed(phase, () => sample(scores, history));
  };
  const finished = (finishReason: FinishReason): Generated => ({
    text,
    tokens: Int32Array.from(tokens),
    promptTokens,
    finishReason,
    promptSeconds: seconds.prompt,
    decodeSeconds: seconds.decode,
  });

  return write();

  async function* write(): AsyncGenerator<Piece, Generated, void> {
    let logits = named(session.logits?.subarray(0, drawable) ?? new Float32Array(0));
    for (let at = fed; at < promptTokens.length; ) {
      if (signal?.aborted) return finished('aborted');
      const mark = marks.find(each => each > at) ?? promptTokens.length;
      const end = Math.min(at + PROMPT_PART, mark, promptTokens.length);
      try {
        logits = await feed('prompt', promptTokens.subarray(at, end));
      } catch (error) {
        if (signal?.aborted) return finished('aborted');
        throw error;
      }
      at = end;
      if (at === mark) onMark?.(at);
    }
    if (maxTokens === 0) return finished('length');
    if (signal?.aborted) return finished('aborted');
    let token = await draw('prompt', logits);
    let isFed = false;
    try {
      for (;;) {
        const position = session.position;
        tokens.push(token);
        history.push(token);
        const eos = tokenizer.endTokenIds.includes(token);
        const isFull = position + 1 >= session.context;
        const last = eos || isFull || tokens.length === maxTokens;
        const shown = stops.push((eos ? '' : stream.push(token)) + (last ? stream.end() : ''));
        const piece = shown.text + (last && !shown.stopped ? stops.end() : '');
        text += piece;
        yield {
          token,
          text: piece,
          position,
          ...(logprobs !== undefined && likely(logits, token, logprobs)),
        };
        if (shown.stopped) return finished('stop');
        if (eos) return finished('eos');
        if (last) return finished(tokens.length === maxTokens ? 'length' : 'context');
        if (signal?.aborted) return finished('aborted');
        isFed = true;
        logits = await feed('decode', [token]);
        token = await draw('decode', logits);
        isFed = false;
      }
    } finally {
      if (!isFed) await session.feedTogether([token], { logits: 'last' });
    }
  }
}

/** The log probability of a token, and of the `count` likeliest. */
function likely(logits: Float32Array, token: number, count: number): Pick<Piece, 'logprob' | 'likeliest'> {
  const z = logSum(logits);
  const next = ranking(logits);
  const best = Array.from({ length: Math.min(count, logits.length) }, next).filter(
    id => logits[id] > Number.NEGATIVE_INFINITY,
  );
  return {
    logprob: logits[token] - z,
    likeliest: best.map(id => ({ token: id, logprob: logits[id] - z })),
  };
}

/** The tokens of a prompt, as `generate` feeds them. */
export function tokensOf(
  prompt: string | ArrayLike<number>,
  tokenizer: Tokenizer,
  { vocabSize, logits }: Pick<Writable, 'vocabSize' | 'logits'>,
): Int32Array {
  const encoded = (text: string) => (logits ? tokenizer.encode(text) : textTokens(tokenizer, text));
  const given = typeof prompt === 'string' ? encoded(prompt) : prompt;
  if (typeof given?.length !== 'number')
    throw new TypeError(`prompt expected a text or token ids; got ${show(given)}`);
  if (given.length === 0 && logits) return new Int32Array(0);
  const tokens = given.length > 0 ? given : [tokenizer.eosTokenId];
  return Int32Array.from(tokens as ArrayLike<number | undefined>, (token, i) => {
    if (token === undefined && given.length === 0)
      throw new RangeError('prompt expected at least one token; got none, and no eos token to start from');
    if (typeof token === 'object' || typeof token === 'string')
      throw new TypeError(
        `prompt expected a text or token ids; got ${show(token)} at position ${i} (model.chat answers the messages of a chat)`,
      );
    if (!Number.isInteger(token) || token! < 0 || token! >= vocabSize)
      throw new RangeError(`token ${token} is out of range 0 … ${vocabSize - 1} at position ${i}`);
    return token!;
  });
}
