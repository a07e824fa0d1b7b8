/**
 * Feeds together those who ask at about the same time: continuous batching.
 *
 * Each asks with its own sequence and tokens, whenever it likes. Who waits is fed in steps, and a step reads the weights once for all:
 * a row for each text that is being written, and parts of prompts beside them. Nobody waits for the end of another's prompt, and
 * who comes joins the next step. The bits are those of a feed alone (sequences.ts), so none of this shows in any answer.
 */
import type { Executable, FeedOptions, Sequence } from './executable.ts';
import { joined, lastRow, type Tensor } from './tensor.ts';
import { turn } from './turn.ts';

export interface Batches {
  /**
   * Feeds tokens in the next steps, and resolves to the logits of all of them, or of the last, as `Sequence.feed` returns them.
   *
   * @param options `signal`: who waits no longer is not fed any more; `onPart` sees the logits after each part as soon as it is fed
   * @throws what `Sequence.feed` throws. Then the sequence stands behind the parts that were fed; others do not notice.
   */
  feed(sequence: Sequence, tokens: Int32Array, options?: BatchOptions): Promise<Tensor<'f32'>>;
  /** Whether tokens of this sequence wait to be fed. */
  isWaiting(sequence: Sequence): boolean;
}

export interface BatchOptions extends Pick<FeedOptions, 'logits'> {
  readonly signal?: AbortSignal;
  readonly onPart?: (logits: Tensor<'f32'>) => void;
}

/**
 * How many tokens of prompts a step takes: alone, and beside texts being written, whose next tokens wait for it. At mamba-130m's shape a
 * token in 128 costs 2.0 ms, in 64 it costs 2.1, in 32 it costs 2.4, and a token that is written 18 (Node 24).
 */
const PROMPT_ROWS = 64;
const PROMPT_ROWS_BESIDE = 32;
/** The part of them that is left to the prompt of which most was fed, so that others overtake it and it still gets on. */
const LEAST_SHARE = 4;

interface Waiting {
  readonly sequence: Sequence;
  readonly tokens: Int32Array;
  readonly options: BatchOptions;
  /** How many tokens were fed, and the logits that are asked for of them. */
  fed: number;
  logits: readonly Tensor<'f32'>[];
  /** With the logits, or with what went wrong. */
  readonly end: (error?: unknown) => void;
}

/** Some of the tokens that somebody waits for. */
interface Part {
  readonly of: Waiting;
  readonly tokens: Int32Array;
}

export function batches(executable: Executable): Batches {
  const waiting = new Map<Sequence, Waiting>();
  let isRunning = false;
  /** How many tokens of prompts each text has had. */
  const had = new WeakMap<Sequence, number>();

  /** One that fails makes all fail, so they are fed again, each alone. */
  const step = (parts: readonly Part[]): void => {
    let fed: readonly Tensor<'f32'>[];
    try {
      const logits = parts.some(({ of }) => of.options.logits !== 'last') ? 'all' : 'last';
      fed = executable.feed(
        parts.map(({ of: { sequence }, tokens }) => ({ sequence, tokens })),
        { logits },
      );
    } catch (error) {
      if (parts.length > 1) for (const part of parts) step([part]);
      else parts[0].of.end(error ?? new Error('feed: failed'));
      return;
    }
    for (const [i, { of, tokens }] of parts.entries()) {
      const { sequence, options } = of;
      const isLast = options.logits === 'last';
      const logits = isLast && fed[i].shape[0] > 1 ? lastRow(fed[i]) : fed[i];
      of.logits = isLast ? [logits] : [...of.logits, logits];
      of.fed += tokens.length;
      if (of.tokens.length > 1) had.set(sequence, (had.get(sequence) ?? 0) + tokens.length);
      options.onPart?.(logits);
      if (of.fed === of.tokens.length) of.end();
    }
  };
  const run = async (): Promise<void> => {
    isRunning = true;
    // In its turn who was answered asks for more, and who gave up leaves.
    for (await turn(); waiting.size > 0; await turn()) step(partsOf([...waiting.values()], had));
    isRunning = false;
  };

  return {
    isWaiting: sequence => waiting.has(sequence),
    feed: (sequence, tokens, options = {}) =>
      new Promise((resolve, reject) => {
        const { signal } = options;
        signal?.throwIfAborted();
        if (waiting.has(sequence))
          throw new Error('feed: this sequence still waits for tokens that it was given');
        const leave = () => who.end(signal!.reason);
        const who: Waiting = {
          ...{ sequence, tokens, options, fed: 0, logits: [] },
          end(error) {
            waiting.delete(sequence);
            signal?.removeEventListener('abort', leave);
            if (error === undefined) resolve(who.logits.length === 1 ? who.logits[0] : joined(who.logits));
            else reject(error);
          },
        };
        signal?.addEventListener('abort', leave);
        waiting.set(sequence, who);
        if (!isRunning) void run();
      }),
  };
}

/** What the next step takes: all single tokens, and of longer prompts as much as there is room for, first where least was fed so far. */
function partsOf(waiting: readonly Waiting[], had: WeakMap<Sequence, number>): readonly Part[] {
  const isSingle = ({ tokens }: Waiting) => tokens.length <= 1;
  const singles = waiting.filter(isSingle);
  const prompts = waiting
    .filter(each => !isSingle(each))
    .sort((a, b) => (had.get(a.sequence) ?? 0) - (had.get(b.sequence) ?? 0));
  const parts = singles.map((of): Part => ({ of, tokens: of.tokens }));
  let room = singles.length > 0 ? PROMPT_ROWS_BESIDE : PROMPT_ROWS;
  const least = room / LEAST_SHARE;
  for (const [i, of] of prompts.entries()) {
    const kept = i < prompts.length - 1 ? least : 0;
    const count = Math.min(of.tokens.length - of.fed, Math.max(room - kept, 0));
    if (count === 0) continue;
    parts.push({ of, tokens: of.tokens.subarray(of.fed, of.fed + count) });
    room -= count;
  }
  return parts;
}
