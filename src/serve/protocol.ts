/** What the process that answers requests and the one that has a model say to each other. */

import type { ChatMessage } from '../open/chat.ts';
import type { ModelOptions } from '../open/model.ts';
import type { Sizes } from '../plan/sizes.ts';
import type { FinishReason } from '../text/generate.ts';
import type { SamplingOptions } from '../text/sampling.ts';

/** How the process of a model is started. */
export interface EngineOptions extends Pick<ModelOptions, 'recipe' | 'threads' | 'context' | 'cacheMemory'> {
  /** A folder. */
  readonly model: string;
  readonly backend?: string;
  /** A Jinja chat template in place of the model's own. */
  readonly template?: string;
}

/** What there is to know of a model that is ready. */
export interface About {
  readonly recipe: string;
  readonly backend: string;
  readonly threads: number;
  /** Of the model and its recipe: their hash. */
  readonly identity: string;
  readonly vocabSize: number;
  /** The most tokens of a text; undefined where there is no limit. */
  readonly context?: number;
  /** Why it cannot chat, where it has no template that works. */
  readonly noChat?: string;
  readonly sizes?: Sizes;
  readonly notes: readonly string[];
}

/** What is to be written. */
export interface WriteRequest {
  readonly prompt:
    | { readonly text: string }
    | { readonly tokens: readonly number[] }
    | { readonly messages: readonly ChatMessage[]; readonly tools?: readonly unknown[] };
  readonly sampling: SamplingOptions;
  readonly penalties: Penalties;
  /** At most so many tokens, and not more than there is room for. */
  readonly maxTokens: number;
  readonly stop: readonly string[];
  /** How many of the likeliest tokens are told with each; undefined: no probabilities. */
  readonly logprobs?: number;
}

/** What is subtracted from the logit of a token that was written before, and what is added to that of a token in any case. */
export interface Penalties {
  /** For each time. */
  readonly frequency: number;
  /** Once. */
  readonly presence: number;
  /** By token id. */
  readonly bias: Readonly<Record<string, number>>;
}

export interface TokenChance {
  readonly text: string;
  /** Of the token. They may be a part of a character. */
  readonly bytes: readonly number[];
  readonly logprob: number;
}

export interface WrittenPiece {
  readonly text: string;
  readonly chance?: TokenChance;
  readonly likeliest?: readonly TokenChance[];
}

export interface Written {
  readonly finishReason: FinishReason;
  readonly promptTokens: number;
  readonly keptTokens: number;
  readonly tokens: number;
  readonly answerHash: string;
  readonly promptSeconds: number;
  readonly decodeSeconds: number;
}

/** Totals since the process began, and what is there now. */
export interface EngineStats {
  readonly keptTexts: number;
  readonly keptBytes: number;
  readonly memoryBytes: number;
  readonly writing: number;
}

/** To the model. */
export type Order =
  | { readonly write: number; readonly request: WriteRequest }
  | { readonly cancel: number }
  | { readonly tokenize: number; readonly text: string };

/** From the model. */
export type Report =
  | { readonly ready: About }
  /** It cannot be loaded. */
  | { readonly unready: string }
  | { readonly of: number; readonly begun: { readonly promptTokens: number } }
  | { readonly of: number; readonly piece: WrittenPiece }
  | { readonly of: number; readonly done: Written }
  | { readonly of: number; readonly tokens: readonly number[] }
  /** `isRequest`: the request was wrong, and the model is as it was. */
  | { readonly of: number; readonly failed: string; readonly isRequest: boolean; readonly code?: string }
  | { readonly stats: EngineStats };
