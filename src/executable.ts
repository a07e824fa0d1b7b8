/**
 * What a backend makes of a program: an executable, which lends sequences.
 *
 * A sequence is one text in progress. It owns a place in the backend's memory, where its states are. Several are fed together
 * by `executable.feed`, which reads the weights once for all of them. The bits of a sequence do not depend on how its text is
 * cut into feeds, nor on who is fed beside it.
 *
 * In JavaScript it owns a state of its text and the tokens since, a number each (of a frame `width`), so that a feed that fails
 * can be undone (sequences.ts).
 */
import type { Input, Ref } from './graph.ts';
import type { Sizes } from './plan/sizes.ts';
import type { Tensor } from './tensor.ts';

/** What sees an activation at a site: the site's word, the value's name, the value f32[l, n]. */
export type Observer = (site: string, ref: Ref, x: Tensor<'f32'>) => void;

export interface FeedOptions {
  /** For a feed of one sequence. */
  readonly observe?: Observer;
  /**
   * `last`: only the logits after the last token, f32[1, v], which is what writing on from a prompt needs. Default: all. What
   * fails does not depend on it: a NaN that is to be quantized is an error at every token.
   */
  readonly logits?: 'all' | 'last';
}

/** Where a text is, as a value. It can be loaded into any sequence of the same program, on any backend, as often as wanted. */
export interface State {
  /** Tokens fed since the start of the text. */
  readonly position: number;
  /** The states of the program by name, as they read back: rounded to how each is kept. */
  readonly values: ReadonlyMap<Ref, Tensor<'f32'>>;
}

export interface Sequence {
  /** Tokens fed since the start of the text. */
  readonly position: number;
  /** The most tokens of the text: infinite, unless a state grows with it. */
  readonly context: number;
  /**
   * Feeds tokens and returns the logits f32[l, v] of every one of them, or f32[1, v] of the last. A program of frames is fed
   * frames: what is said of a token is true of a frame.
   *
   * @throws RangeError for no tokens, one that the program does not know, or a value that is not finite; whatever fails, the
   * sequence is as it was.
   */
  feed(tokens: Input, options?: FeedOptions): Tensor<'f32'>;
  /** A copy of where the text is. */
  save(): State;
  /** Goes to where another text is; without one, to the start of a text. */
  load(state?: State): void;
  /** Another sequence that goes on from here, independently. */
  fork(): Sequence;
  /** Gives its place back. After that it cannot be used. */
  close(): void;
}

/** A sequence and the tokens that it is fed. */
export interface Turn {
  readonly sequence: Sequence;
  readonly tokens: Input;
}

export interface Executable {
  /** A new sequence, at the start of a text or where a state is. */
  open(state?: State): Sequence;
  /**
   * Feeds several sequences, each its own tokens, and returns the logits of each: f32[l, v], or f32[1, v] of its last token.
   *
   * @throws as `Sequence.feed`; whatever fails, all sequences are as they were. Where several tokens meet a NaN, it depends on the
   * backend which of them the error names.
   */
  feed(turns: readonly Turn[], options?: FeedOptions): readonly Tensor<'f32'>[];
  /** What runs it, where the backend has something to say. */
  readonly about?: ExecutableInfo;
  /** Resolves when every thread that was asked for takes part. Until then fewer do, with the same bits. */
  readonly ready?: Promise<void>;
  /** Bytes per second that a plain read of `bytes` bytes of its memory reaches, with all its threads: the ceiling of decoding. */
  readBandwidth?(bytes: number): number;
  /** Multiply-adds of int8 per second that its instructions reach in registers, with all its threads: the ceiling of prefill. */
  multiplyRate?(): number;
  dispose?(): void;
}

export interface ExecutableInfo {
  /** The variant of the kernels, such as `simd` or `relaxed-simd`. */
  readonly kernels: string;
  readonly threads: number;
  /** Of its own memory: weights, states, values. */
  readonly memoryBytes: number;
  /** What one token moves: it reads the weights, and reads and writes the states. What it reads of states that grow is not in it. */
  readonly bytesPerToken: number;
  /** What of its memory is for weights, and what for the states of each text. */
  readonly sizes?: Sizes;
}
