/**
 * What a request may say, as schemas: https://platform.openai.com/docs/api-reference. Each field is said once; types follow.
 *
 * A field that is not known is refused, as OpenAI does it: a misspelt one would change nothing in silence. Fields that mean
 * something to OpenAI's own service alone are taken and do nothing.
 */
import { type Static, type TProperties, type TSchema, Type } from 'typebox';

const optional = <T extends TSchema>(type: T) => Type.Optional(Type.Union([type, Type.Null()]));
const closed = <P extends TProperties>(properties: P) =>
  Type.Object(properties, { additionalProperties: false });
const whole = (minimum: number, maximum = Number.MAX_SAFE_INTEGER) => Type.Integer({ minimum, maximum });
const between = (minimum: number, maximum: number) => Type.Number({ minimum, maximum });

const Stop = Type.Union([
  Type.String({ minLength: 1 }),
  Type.Array(Type.String({ minLength: 1 }), { maxItems: 16 }),
]);

/** The same for a chat and for a text. */
const shared = {
  model: Type.Optional(Type.String()),
  temperature: optional(between(0, 2)),
  top_p: optional(Type.Number({ exclusiveMinimum: 0, maximum: 1 })),
  /** Not OpenAI's, but of most other servers. */
  top_k: optional(whole(0)),
  min_p: optional(between(0, 1)),
  repetition_penalty: optional(Type.Number({ exclusiveMinimum: 0 })),
  frequency_penalty: optional(between(-2, 2)),
  presence_penalty: optional(between(-2, 2)),
  logit_bias: optional(Type.Record(Type.String({ pattern: '^[0-9]{1,9}$' }), between(-100, 100))),
  max_tokens: optional(whole(0)),
  n: optional(whole(1, 128)),
  seed: optional(Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER })),
  stop: optional(Stop),
  stream: optional(Type.Boolean()),
  stream_options: optional(
    closed({ include_usage: optional(Type.Boolean()), include_obfuscation: optional(Type.Boolean()) }),
  ),
  ...Object.fromEntries(
    ['user', 'metadata', 'store', 'service_tier', 'safety_identifier', 'prompt_cache_key'].map(field => [
      field,
      Type.Optional(Type.Unknown()),
    ]),
  ),
};

/** What a template reads of a message is the template's own matter. */
const Message = Type.Object({ role: Type.String({ minLength: 1 }) }, { additionalProperties: true });

export const ChatBody = closed({
  ...shared,
  messages: Type.Array(Message, { minItems: 1 }),
  max_completion_tokens: optional(whole(0)),
  logprobs: optional(Type.Boolean()),
  top_logprobs: optional(whole(0, 20)),
  tools: optional(Type.Array(Type.Unknown())),
  tool_choice: optional(Type.Union([Type.Literal('auto'), Type.Literal('none')])),
  parallel_tool_calls: Type.Optional(Type.Unknown()),
  reasoning_effort: Type.Optional(Type.Unknown()),
  response_format: optional(closed({ type: Type.Literal('text') })),
});
export type ChatBody = Static<typeof ChatBody>;

const Ids = Type.Array(whole(0), { minItems: 1 });

export const TextBody = closed({
  ...shared,
  prompt: Type.Union([
    Type.String(),
    Type.Array(Type.String(), { minItems: 1 }),
    Ids,
    Type.Array(Ids, { minItems: 1 }),
  ]),
  logprobs: optional(whole(0, 20)),
  echo: optional(Type.Literal(false)),
  best_of: optional(Type.Literal(1)),
  suffix: Type.Optional(Type.Null()),
});
export type TextBody = Static<typeof TextBody>;

export const TokenizeBody = closed({ model: Type.Optional(Type.String()), text: Type.String() });
export type TokenizeBody = Static<typeof TokenizeBody>;
