/** Writes on from a prompt, token by token, and shows the text as it becomes certain. */
import type { Tokenizer } from '../formats/tokenizer.ts';
import type { Session } from '../session.ts';
import type { Tensor } from '../tensor.ts';
import { type SamplingOptions, sampler } from './sampling.ts';
import { stopFilter } from './stops.ts';

export interface GenerateOptions extends SamplingOptions {
  /** Default: 128. */
  readonly maxTokens?: number;
  /** Texts before which to stop. */
  readonly stop?: readonly string[];
  readonly signal?: AbortSignal;
  /** Gets the logits f32[l, v] of every position fed, in order: the prompt's, then those of each token written but the last. */
  readonly onLogits?: (logits: Tensor<'f32'>) => void;
}

/** One written token. */
export interface Piece {
  readonly token: number;
  /** The text that became certain with it: often its own, sometimes none, sometimes more. */
  readonly text: string;
  /** Where the token stands in the session's text, from 0. */
  readonly position: number;
}

export type FinishReason = 'length' | 'stop' | 'eos' | 'aborted';

export interface Generated {
  /**
   * The texts of all pieces together. It is decode(tokens), but for 'stop' cut before the stop string, and for 'aborted'
   * without an end that was not certain yet.
   */
  readonly text: string;
  /** All tokens written, with that which ended the text. The last one has not been fed to the session. */
  readonly tokens: Int32Array;
  readonly promptTokens: Int32Array;
  readonly finishReason: FinishReason;
  /** Up to and with the first token; without the caller's own time, here or in onLogits. */
  readonly promptSeconds: number;
  /** All other tokens. */
  readonly decodeSeconds: number;
}

/** A prompt is fed in parts (the same bits in any cut), so that its logits need not be in memory together. */
const PROMPT_PART = 128;

/**
 * Feeds the prompt to the session where it stands, then writes. An empty prompt is the eos token: to a language model the
 * end of a text is the start of the next. Only tokens that the tokenizer knows are drawn: no padding rows of a model, no holes.
 *
 *   for await (const { text } of generate(session, tokenizer, 'The old man')) process.stdout.write(text);
 *
 * @throws RangeError for an option or a token out of its range, before anything is fed.
 */
export function generate(
  session: Session,
  tokenizer: Tokenizer,
  prompt: string | ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<Piece, Generated, void> {
  const { maxTokens = 128, stop = [], signal, onLogits, ...sampling } = options;
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 0)
    throw new RangeError(`maxTokens expected a whole number >= 0; got ${maxTokens}`);
  const promptTokens = tokensOf(prompt, tokenizer, session.vocabSize);
  const stops = stopFilter(stop);
  const sample = sampler(sampling);
  const drawable = Math.min(tokenizer.vocabSize, session.vocabSize);
  const holes = Array.from({ length: drawable }, (_, id) => id).filter(id => !tokenizer.has(id));
  const stream = tokenizer.stream();
  const history = [...promptTokens];
  const tokens: number[] = [];
  let text = '';
  const seconds = { prompt: 0, decode: 0 };
  const timed = <T>(phase: keyof typeof seconds, work: () => T): T => {
    const start = performance.now();
    const result = work();
    seconds[phase] += (performance.now() - start) / 1000;
    return result;
  };
  /** The logits f32[v] after the last of these tokens. */
  const feed = (phase: keyof typeof seconds, part: ArrayLike<number>): Float32Array => {
    const logits = timed(phase, () => session.feed(part, { logits: onLogits ? 'all' : 'last' }));
    onLogits?.(logits);
    const last = (logits.shape[0] - 1) * logits.shape[1];
    const row = logits.data.subarray(last, last + drawable);
    if (holes.length === 0) return row;
    const named = row.slice(); // the row itself is the caller's
    for (const id of holes) named[id] = Number.NEGATIVE_INFINITY;
    return named;
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
    let logits: Float32Array = new Float32Array(0);
    for (let at = 0; at < promptTokens.length; at += PROMPT_PART) {
      if (signal?.aborted) return finished('aborted');
      logits = feed('prompt', promptTokens.subarray(at, at + PROMPT_PART));
      await turn();
    }
    if (maxTokens === 0) return finished('length');
    if (signal?.aborted) return finished('aborted');
    let token = timed('prompt', () => sample(logits, history));
    for (;;) {
      const position = session.position;
      tokens.push(token);
      history.push(token);
      const eos = tokenizer.endTokenIds.includes(token);
      const last = eos || tokens.length === maxTokens;
      const shown = stops.push((eos ? '' : stream.push(token)) + (last ? stream.end() : ''));
      const piece = shown.text + (last && !shown.stopped ? stops.end() : '');
      text += piece;
      yield { token, text: piece, position };
      if (shown.stopped || last) return finished(shown.stopped ? 'stop' : eos ? 'eos' : 'length');
      await turn();
      if (signal?.aborted) return finished('aborted');
      logits = feed('decode', [token]);
      token = timed('decode', () => sample(logits, history));
    }
  }
}

function tokensOf(prompt: string | ArrayLike<number>, tokenizer: Tokenizer, vocabSize: number): Int32Array {
  const given = typeof prompt === 'string' ? tokenizer.encode(prompt) : prompt;
  if (typeof given?.length !== 'number')
    throw new TypeError(`prompt expected a text or token ids; got ${given === null ? 'null' : typeof given}`);
  const tokens = given.length > 0 ? given : [tokenizer.eosTokenId];
  return Int32Array.from(tokens as ArrayLike<number | undefined>, (token, i) => {
    if (token === undefined && given.length === 0)
      throw new RangeError('prompt expected at least one token; got none, and no eos token to start from');
    if (!Number.isInteger(token) || token! < 0 || token! >= vocabSize)
      throw new RangeError(`token ${token} is out of range 0 … ${vocabSize - 1} at position ${i}`);
    return token!;
  });
}

/** Lets timers, input and aborts have their turn. (setTimeout waits 1 ms and more, setImmediate is in Node only.) */
function turn(): Promise<void> {
  return new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
