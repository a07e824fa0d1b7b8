/** What a page and its worker say to each other. Calls go through comlink; a text being written has a port of its own. */

import type { Executable } from '../executable.ts';
import type { PlanInfo } from '../quant/checkpoint.ts';
import type { Tensor } from '../tensor.ts';
import type { Generated, GenerateOptions, Piece } from '../text/generate.ts';
import type { FetchProgress } from './fetch-files.ts';

/** What can be sent to a worker: no functions, no signal. */
export type WrittenOptions = Omit<GenerateOptions, 'signal' | 'onLogits'>;

export interface LoadRequest {
  /** Absolute. */
  readonly url: string;
  /** A row of the recipe table. Default: quamba. */
  readonly recipe?: string;
  /** How many threads share the work; 1 in a page that is not cross-origin isolated. Default: 1. The bits do not depend on it. */
  readonly threads?: number;
  /**
   * The files to fetch, where the page knows them: nothing else is asked for. Default: config.json, the tokenizer's,
   * plan.<recipe>.safetensors or else model.safetensors with stats.<recipe>.safetensors.
   */
  readonly files?: readonly string[];
  /** Keep the files with the Cache API. Default: true. */
  readonly cache?: boolean;
}

export interface Loaded {
  readonly name: string;
  readonly backend: string;
  /** Its kernels, threads and memory. */
  readonly about: Executable['about'];
  readonly info: PlanInfo;
  readonly eosTokenId: number | undefined;
}

/** What the worker offers. Sessions go by number. */
export interface ModelWorker {
  load(request: LoadRequest, onProgress: (progress: FetchProgress) => void): Promise<Loaded>;
  encode(text: string): Int32Array;
  decode(tokens: ArrayLike<number>): string;
  pieces(tokens: ArrayLike<number>): string[];
  open(): number;
  feed(
    session: number,
    tokens: ArrayLike<number>,
    logits: 'all' | 'last',
  ): { logits: Tensor<'f32'>; position: number };
  reset(session: number): void;
  snapshot(session: number): Uint8Array;
  restore(session: number, bytes: Uint8Array): number;
  fork(session: number): number;
  close(session: number): void;
  /** Writes to the port, in `Message`s, until it is done or the port says 'abort'. */
  generate(
    session: number,
    prompt: string | ArrayLike<number>,
    options: WrittenOptions,
    port: MessagePort,
  ): void;
  /** Sends the threads home. */
  dispose(): void;
}

export type Message =
  | { readonly piece: Piece }
  | { readonly done: Generated; readonly position: number }
  | { readonly error: unknown };
