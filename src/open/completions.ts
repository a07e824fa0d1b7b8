/**
 * Writes on from prompts, and keeps where texts stood, so that a text that begins as an earlier one costs its new tokens only.
 *
 * A text is kept at the end of its prompt, at its own end, after each end token in the prompt (there messages of a chat end), and every
 * 256 tokens. What is kept is a fork of the sequence, in the memory of the backend. Nothing of it shows in what is written.
 */
import type { Sequence } from '../executable.ts';
import { bytesOf } from '../formats/bytes.ts';
import { object } from '../formats/json.ts';
import type { Tokenizer } from '../formats/tokenizer.ts';
import { type Hasher, hasher } from '../plan/identity.ts';
import { sizesOf } from '../plan/sizes.ts';
import { createSession, type Runnable } from '../session.ts';
import {
  type Generated,
  type GenerateOptions,
  generate,
  type Piece,
  tokensOf,
  type Writable,
} from '../text/generate.ts';
import { prefixes } from '../text/prefixes.ts';

export interface CompleteOptions extends Omit<GenerateOptions, 'fed' | 'marks' | 'onMark'> {
  /** Gives the text its `logitsHash`. The logits of the whole prompt are computed for it. */
  readonly hashLogits?: boolean;
}

export interface Completed extends Generated {
  /** How many of `promptTokens` were not fed, since a kept state stood after them. */
  readonly keptTokens: number;
  /** sha256 of the logits f32[v] that each written token was drawn from, in order. It does not depend on what was kept. */
  readonly answerHash: string;
  /**
   * With the option `hashLogits`: sha256 of the logits of all tokens of the prompt and of those written, but the last. It does not
   * depend on what was kept.
   */
  readonly logitsHash?: string;
}

export interface Completions {
  /** @throws what `generate` throws. */
  complete(
    prompt: string | ArrayLike<number>,
    options?: CompleteOptions,
  ): AsyncGenerator<Piece, Completed, void>;
  /** How many texts are kept, and the bytes they take. */
  readonly kept: { readonly size: number; readonly bytes: number };
  /** Lets all go that is kept. */
  clear(): void;
}

/** Of kept texts: a hundred turns of a model of 130 M parameters, a few of one of 2.8 B. */
export const KEPT_BYTES = 2 ** 28;

/** Tokens of a prompt after which it is kept, whatever they are; and at how many end tokens at most. */
const EVERY = 256;
const MOST_ENDS = 32;

/** Where a text stood. */
interface Kept {
  readonly sequence: Sequence;
  readonly logits: Float32Array;
  /** Of the logits of all its tokens, where they were computed. */
  readonly hash?: Hasher;
}

/** A prompt that is being fed. */
interface Feeding {
  readonly prompt: Int32Array;
  readonly marks: readonly number[];
  /** Resolves when it is kept after more of its tokens, or not fed any more. */
  next: Promise<void>;
}

export function completions(
  runnable: Runnable,
  tokenizer: () => Tokenizer,
  mostBytes = KEPT_BYTES,
): Completions {
  const { program, executable, vocabSize } = runnable;
  const { states, cachePerToken } = sizesOf(program, 0);
  const context = executable.about?.sizes?.context ?? Number.POSITIVE_INFINITY;
  const kept = prefixes<Kept>({
    mostBytes,
    bytesEach: states + 4 * vocabSize,
    bytesPerToken: cachePerToken,
    onDrop: ({ sequence }) => sequence.close(),
  });
  const feedings = new Set<Feeding>();
  const isAhead = ({ prompt, marks }: Feeding, other: Int32Array, length: number): boolean => {
    const same = prompt.findIndex((token, i) => token !== other[i]);
    return marks.some(mark => mark > length && mark <= (same < 0 ? prompt.length : same));
  };
  /** A sequence that stands there. Where memory is full, kept texts make room. */
  const opened = (begun: Kept | undefined): Sequence => {
    for (;;)
      try {
        return begun ? begun.sequence.fork() : executable.open();
      } catch (error) {
        if (!kept.drop()) throw error;
      }
  };

  async function* write(
    prompt: Int32Array,
    { hashLogits = false, onLogits, ...writing }: CompleteOptions,
  ): AsyncGenerator<Piece, Completed, void> {
    const isFit = ({ hash }: Kept) => !hashLogits || hash !== undefined;
    let begun = kept.longest(prompt, isFit);
    for (;;) {
      const ahead = [...feedings].find(each => isAhead(each, prompt, begun?.length ?? 0));
      if (!ahead || writing.signal?.aborted) break;
      await ahead.next; // it feeds what this text begins with, too
      begun = kept.longest(prompt, isFit);
    }
    const keptTokens = begun?.length ?? 0;
    const sequence = opened(begun?.value);
    const session = createSession(runnable, sequence, begun?.value.logits);
    const hash = hashLogits ? (begun?.value.hash?.fork() ?? hasher()) : undefined;
    const answer = hasher();
    const tokens = [...prompt];
    let [hashed, keptTo] = [keptTokens, keptTokens];
    const seen: GenerateOptions['onLogits'] = logits => {
      hash?.update(bytesOf(logits.data));
      hashed += logits.shape[0];
      return onLogits?.(logits);
    };
    const keep = (): void => {
      const { position, logits } = session;
      if (position === keptTo) return;
      keptTo = position;
      const whole = hash?.fork();
      if (hashed < position) whole?.update(bytesOf(logits!)); // of the last token of an answer, which generate shows nobody
      let fork: Sequence;
      try {
        fork = sequence.fork();
      } catch {
        kept.drop(); // there is no room, and the next text shall find some
        return;
      }
      kept.keep(tokens.slice(0, position), { sequence: fork, logits: logits!, hash: whole });
    };
    let wake = () => {};
    const sleep = () =>
      new Promise<void>(resolve => {
        wake = resolve;
      });
    const feeding: Feeding = {
      prompt,
      marks: marksOf(prompt, tokenizer().endTokenIds, keptTokens),
      next: sleep(),
    };
    const onMark = (): void => {
      keep();
      if (session.position === prompt.length) feedings.delete(feeding);
      wake();
      feeding.next = sleep();
    };
    feedings.add(feeding);
    const pieces = generate(session, tokenizer(), prompt, {
      ...writing,
      ...{ fed: keptTokens, marks: feeding.marks, onMark },
      onLogits: hash || onLogits ? seen : undefined,
    });
    try {
      let next = await pieces.next();
      for (; !next.done; next = await pieces.next()) {
        answer.update(bytesOf(session.logits!)); // its token is not fed yet
        tokens.push(next.value.token);
        yield next.value;
      }
      return {
        ...next.value,
        keptTokens,
        answerHash: answer.hex(),
        ...(hash && { logitsHash: hash.fork().hex() }),
      };
    } finally {
      feedings.delete(feeding);
      await pieces.return(undefined as never); // where the reader has left
      keep();
      wake();
      session.close();
    }
  }

  return {
    complete(prompt, options = {}) {
      const { hashLogits: _, ...writing } = object(options, 'complete: options') as CompleteOptions;
      const nowhere: Writable = { position: 0, vocabSize, logits: undefined, context, feedTogether: never };
      generate(nowhere, tokenizer(), prompt, writing); // wrong arguments are an error at once
      return write(tokensOf(prompt, tokenizer(), nowhere), options);
    },
    kept,
    clear() {
      while (kept.drop());
    },
  };
}

const never = (): never => {
  throw new Error('completions: nothing is fed before it begins');
};

/** After how many of its tokens a prompt is kept, beyond those that are. */
function marksOf(prompt: Int32Array, ends: readonly number[], kept: number): readonly number[] {
  const borders = [...prompt.keys()].filter(i => ends.includes(prompt[i])).map(i => i + 1);
  const some = borders.length > MOST_ENDS ? [borders[0], ...borders.slice(1 - MOST_ENDS)] : borders;
  const regular = Array.from({ length: Math.floor(prompt.length / EVERY) }, (_, i) => (i + 1) * EVERY);
  return [...new Set([...some, ...regular, prompt.length])].filter(mark => mark > kept).sort((a, b) => a - b);
}
