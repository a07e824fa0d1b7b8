/**
 * How likely a continuation is after a context, as lm-eval 0.4.2 computes it: its log-likelihood, and whether greedy decoding would
 * write it.
 *
 *   log p(continuation | context) = Σ log p(token), in float64, over the continuation's tokens
 *
 * White space (Python's) at the end of a context counts as part of the continuation. Both are tokenised as one text; its first tokens are the context,
 * as many as the context alone has. An empty context is the token that ends texts.
 */
import type { Tokenizer } from '../formats/tokenizer.ts';
import type { Session } from '../session.ts';
import { likeliest, rowsOf, surprise } from '../text/logits.ts';
import { rstrip } from './python-text.ts';

/** The longest input of a model. Longer ones lose their beginning (the paper's setting). */
export const MOST_TOKENS = 2048;

/** Token ids, of which the last `scored` are the continuation. */
export interface Request {
  readonly ids: Int32Array;
  readonly scored: number;
}
export interface Likelihood {
  /** log p(continuation | context), nats. */
  readonly ll: number;
  readonly greedy: boolean;
}

/** @throws Error where there is nothing to score, or too much, or where the context is empty and the tokenizer has no end token. */
export function request(tokenizer: Tokenizer, context: string, continuation: string): Request {
  const kept = rstrip(context);
  let ids = tokenizer.encode(context + continuation);
  let before = kept === '' ? 0 : tokenizer.encode(kept).length;
  if (before === 0) {
    if (tokenizer.eosTokenId === undefined)
      throw new Error('the context is empty, and the tokenizer names no eos_token to stand for it');
    ids = Int32Array.of(tokenizer.eosTokenId, ...ids);
    before = 1;
  }
  const scored = ids.length - before;
  if (scored < 1 || scored > MOST_TOKENS)
    throw new Error(`the continuation expected 1 … ${MOST_TOKENS} tokens; got ${scored}`);
  return { ids: ids.slice(-(MOST_TOKENS + 1)), scored };
}

/**
 * Scores requests, each from an empty state. Their common beginning is fed once, and the rest of all together: the same bits by the
 * chunk law and the batch law.
 */
export async function likelihoods(session: Session, requests: readonly Request[]): Promise<Likelihood[]> {
  const shared = sharedPrefix(requests);
  session.reset();
  const ahead =
    shared > 0 ? (await session.feedTogether(requests[0].ids.subarray(0, shared), LAST)).data : undefined;
  const sessions = requests.map((_, i) => (i === 0 ? session : session.fork()));
  const score = async ({ ids, scored }: Request, i: number): Promise<Likelihood> => {
    const own = sessions[i];
    const first = ids.length - scored;
    const rows = [
      first > shared ? (await own.feedTogether(ids.subarray(shared, first), LAST)).data : ahead!,
      ...(scored > 1 ? rowsOf((await own.feedTogether(ids.subarray(first, -1))).data, scored - 1) : []),
    ];
    let ll = 0;
    let greedy = true;
    for (const [t, row] of rows.entries()) {
      ll -= surprise(row, ids[first + t]);
      greedy &&= likeliest(row) === ids[first + t];
    }
    return { ll, greedy };
  };
  try {
    return await Promise.all(requests.map(score));
  } finally {
    for (const each of sessions) if (each !== session) each.close();
  }
}
const LAST = { logits: 'last' } as const;

/** How many first tokens all requests share, before any scored token. */
function sharedPrefix(requests: readonly Request[]): number {
  const most = Math.min(...requests.map(({ ids, scored }) => ids.length - scored));
  let length = 0;
  while (length < most && requests.every(({ ids }) => ids[length] === requests[0].ids[length])) length++;
  return length;
}
