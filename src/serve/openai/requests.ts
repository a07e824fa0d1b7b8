/** From what a request says to what is to be written: one text for each choice. */
import { randomInt } from 'node:crypto';
import type { ChatMessage } from '../../open/chat.ts';
import type { WriteRequest } from '../protocol.ts';
import type { ChatBody, TextBody } from './bodies.ts';

export interface Asked {
  /** One for each choice, in order. Choice i of a prompt has the seed of the request plus i. */
  readonly requests: readonly WriteRequest[];
  readonly seed: number;
  readonly isStream: boolean;
  readonly includeUsage: boolean;
}

/** Seeds that a request gets that has none; it is told which. */
const SEEDS = 2 ** 31;

/** @param mostTokens of an answer that is not limited by the request */
export function chatAsked(body: ChatBody, mostTokens: number): Asked {
  const { messages, tools, logprobs, top_logprobs, max_completion_tokens, max_tokens } = body;
  const prompt = { messages: messages as readonly ChatMessage[], tools: tools ?? undefined };
  const likeliest = logprobs ? (top_logprobs ?? 0) : undefined;
  return asked(body, [prompt], max_completion_tokens ?? max_tokens ?? mostTokens, likeliest, mostTokens);
}

/** OpenAI's default for a text that says nothing. */
const TEXT_TOKENS = 16;

export function textAsked(body: TextBody, mostTokens: number): Asked {
  const { prompt, logprobs, max_tokens } = body;
  return asked(body, promptsOf(prompt), max_tokens ?? TEXT_TOKENS, logprobs ?? undefined, mostTokens);
}

function promptsOf(prompt: TextBody['prompt']): readonly WriteRequest['prompt'][] {
  if (typeof prompt === 'string') return [{ text: prompt }];
  const [first] = prompt;
  if (typeof first === 'number') return [{ tokens: prompt as number[] }];
  return (prompt as (string | number[])[]).map(each =>
    typeof each === 'string' ? { text: each } : { tokens: each },
  );
}

function asked(
  body: ChatBody | TextBody,
  prompts: readonly WriteRequest['prompt'][],
  maxTokens: number,
  logprobs: number | undefined,
  mostTokens: number,
): Asked {
  const seed = body.seed ?? randomInt(SEEDS);
  const common = {
    penalties: {
      frequency: body.frequency_penalty ?? 0,
      presence: body.presence_penalty ?? 0,
      bias: body.logit_bias ?? {},
    },
    maxTokens: Math.min(maxTokens, mostTokens),
    stop: [body.stop ?? []].flat(),
    logprobs,
  };
  const sampling = {
    temperature: body.temperature ?? 1,
    topP: body.top_p ?? 1,
    topK: body.top_k ?? 0,
    minP: body.min_p ?? 0,
    repetitionPenalty: body.repetition_penalty ?? 1,
  };
  const choices = [...Array(body.n ?? 1).keys()];
  return {
    requests: prompts.flatMap(prompt =>
      choices.map(i => ({ prompt, sampling: { ...sampling, seed: seed + i }, ...common })),
    ),
    seed,
    isStream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
  };
}
