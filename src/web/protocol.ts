/** What a page and its worker hand each other. Calls go through comlink; a text being written has a port of its own. */
import type { Executable } from '../executable.ts';
import type { Model } from '../open/model.ts';
import type { Generated, Piece } from '../text/generate.ts';

export interface LoadRequest {
  /** Absolute. */
  readonly url: string;
  /** A row of the recipe table. Default: quamba. */
  readonly recipe?: string;
  /** How many threads share the work; 1 in a page that is not cross-origin isolated. Default: 1. The bits do not depend on it. */
  readonly threads?: number;
  /** The most tokens of a text, where states grow with it. Default: what the model was made for, at most 8,192. */
  readonly context?: number;
  /**
   * The files to fetch, where the page knows them: nothing else is asked for. Default: config.json, generation_config.json, the tokenizer's,
   * plan.<recipe>.safetensors or else model.safetensors with stats.<recipe>.safetensors.
   */
  readonly files?: readonly string[];
  /** Keep the files with the Cache API; 'reload' fetches them anew. Default: true. */
  readonly cache?: boolean | 'reload';
}

export interface Loaded extends Pick<Model, 'name' | 'backend' | 'info' | 'notes'> {
  /** Its kernels, threads and memory. */
  readonly about: Executable['about'];
  readonly eosTokenId: number | undefined;
  readonly endTokenIds: readonly number[];
}

/** What comes on the port of a text being written, until it is done or failed. The page may say 'abort'. */
export type Message =
  | { readonly piece: Piece }
  | { readonly done: Generated; readonly position?: number }
  | { readonly error: unknown };
