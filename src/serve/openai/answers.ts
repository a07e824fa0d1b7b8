/** What is answered, in the forms of OpenAI's protocol. */
import type { TokenChance, Written, WrittenPiece } from '../protocol.ts';
import type { Choice } from '../writing.ts';

/** What is the same in all parts of an answer. */
export interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  /** Of the model and its recipe. */
  readonly identity: string;
  readonly seed: number;
}

/** The two kinds of answers, a chat's and a text's. */
export interface Form {
  readonly idPrefix: string;
  /** The first part of a choice in a stream, if there is one. */
  first(head: Head, index: number): object | undefined;
  part(head: Head, index: number, piece: WrittenPiece, offset: number): object;
  last(head: Head, index: number, done: Written): object;
  whole(head: Head, choices: readonly Choice[]): object;
  /** After the last parts of a stream: the usage alone. */
  usage(head: Head, choices: readonly Choice[]): object;
}

/** A text that ends by itself, or before a stop text, or for want of room. */
const finish = ({ finishReason }: Written): string =>
  /^(?:eos|stop)$/.test(finishReason) ? 'stop' : 'length';

const usageOf = (choices: readonly Choice[]) => {
  const sum = (of: (done: Written) => number) => choices.reduce((total, { done }) => total + of(done), 0);
  const [prompt, completion] = [sum(done => done.promptTokens), sum(done => done.tokens)];
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(done => done.keptTokens) },
  };
};

/** What anyone needs to check an answer: `quamba generate` prints the same hash. */
const proof = ({ identity, seed }: Head, answers: readonly string[]) => ({
  quamba: { model_sha256: identity, seed, answer_sha256: answers },
});

const headOf = (object: string, { id, created, model, identity }: Head) => ({
  ...{ id, object, created, model },
  system_fingerprint: `quamba_${identity.slice(0, 12)}`,
});

const chance = ({ text, bytes, logprob }: TokenChance) => ({ token: text, logprob, bytes });
const chatChances = (pieces: readonly WrittenPiece[]) =>
  pieces[0]?.chance
    ? {
        content: pieces.map(({ chance: own, likeliest }) => ({
          ...chance(own!),
          top_logprobs: likeliest!.map(chance),
        })),
        refusal: null,
      }
    : null;

const CHUNK = 'chat.completion.chunk';
export const chatForm: Form = {
  idPrefix: 'chatcmpl-',
  first: (head, index) => ({
    ...headOf(CHUNK, head),
    choices: [{ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }],
  }),
  part: (head, index, piece) => ({
    ...headOf(CHUNK, head),
    choices: [{ index, delta: { content: piece.text }, logprobs: chatChances([piece]), finish_reason: null }],
  }),
  last: (head, index, done) => ({
    ...headOf(CHUNK, head),
    choices: [{ index, delta: {}, logprobs: null, finish_reason: finish(done) }],
    ...proof(head, [done.answerHash]),
  }),
  usage: (head, choices) => ({ ...headOf(CHUNK, head), choices: [], usage: usageOf(choices) }),
  whole: (head, choices) => ({
    ...headOf('chat.completion', head),
    choices: choices.map(({ pieces, done }, index) => ({
      index,
      message: { role: 'assistant', content: textOf(pieces), refusal: null },
      logprobs: chatChances(pieces),
      finish_reason: finish(done),
    })),
    usage: usageOf(choices),
    ...proof(
      head,
      choices.map(({ done }) => done.answerHash),
    ),
  }),
};

const textOf = (pieces: readonly WrittenPiece[]): string => pieces.map(({ text }) => text).join('');

/** @param offset where the text of the first piece stands in the answer */
function textChances(pieces: readonly WrittenPiece[], offset: number) {
  if (!pieces[0]?.chance) return null;
  let at = offset;
  const offsets = pieces.map(({ text }) => {
    const before = at;
    at += text.length;
    return before;
  });
  return {
    tokens: pieces.map(piece => piece.chance!.text),
    token_logprobs: pieces.map(piece => piece.chance!.logprob),
    top_logprobs: pieces.map(({ likeliest }) =>
      Object.fromEntries(likeliest!.map(({ text, logprob }) => [text, logprob])),
    ),
    text_offset: offsets,
  };
}

const TEXT = 'text_completion';
export const textForm: Form = {
  idPrefix: 'cmpl-',
  first: () => undefined,
  part: (head, index, piece, offset) => ({
    ...headOf(TEXT, head),
    choices: [{ index, text: piece.text, logprobs: textChances([piece], offset), finish_reason: null }],
  }),
  last: (head, index, done) => ({
    ...headOf(TEXT, head),
    choices: [{ index, text: '', logprobs: null, finish_reason: finish(done) }],
    ...proof(head, [done.answerHash]),
  }),
  usage: (head, choices) => ({ ...headOf(TEXT, head), choices: [], usage: usageOf(choices) }),
  whole: (head, choices) => ({
    ...headOf(TEXT, head),
    choices: choices.map(({ pieces, done }, index) => ({
      index,
      text: textOf(pieces),
      logprobs: textChances(pieces, 0),
      finish_reason: finish(done),
    })),
    usage: usageOf(choices),
    ...proof(
      head,
      choices.map(({ done }) => done.answerHash),
    ),
  }),
};

/** An error in the form of the protocol. */
export const errorBody = (
  message: string,
  type: string,
  code: string | null = null,
  param: string | null = null,
) => ({
  error: { message, type, param, code },
});
