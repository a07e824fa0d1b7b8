/** One request to the hub: with the token where it belongs, and with every way to fail as one sentence. */
import type { HubSettings } from './cache.ts';

/** A sentence, and whether the same request may go better a moment later. */
export class HubFailure extends Error {
  readonly again: boolean;
  constructor(message: string, again: boolean, options?: ErrorOptions) {
    super(message, options);
    this.again = again;
  }
}

/**
 * `fetch` for one model. The token goes to the hub alone: `fetch` drops it when it is led elsewhere, as every large file is.
 *
 * @throws HubFailure when nobody answers, or the answer is not one of success.
 */
export function hubFetch(what: string, { endpoint, token }: HubSettings): typeof fetch {
  const { origin } = new URL(endpoint);
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : String(input));
    const headers = new Headers(init?.headers);
    headers.set('user-agent', 'quamba pull');
    headers.set('accept-encoding', 'identity'); // a packed answer cannot be resumed
    if (token && url.origin === origin) headers.set('authorization', `Bearer ${token}`);
    let response: Response;
    try {
      response = await fetch(input, { ...init, headers });
    } catch (error) {
      const why = `${origin} cannot be reached (${reasonOf(error)}); is there a network?`;
      throw new HubFailure(`${what}: ${why}`, true, { cause: error });
    }
    if (response.ok) return response;
    await response.body?.cancel();
    throw refusal(what, response, origin, token !== undefined);
  };
}

/** undici says "fetch failed", and why one cause deeper. */
export function reasonOf(error: unknown): string {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code, message, cause } = at as NodeJS.ErrnoException;
    if (code) return code;
    if (!cause) return message;
  }
  return String(error);
}

const CODES: Readonly<Record<string, string>> = {
  RepoNotFound: 'there is no such model, or it is private',
  RevisionNotFound: 'there is no such revision',
  EntryNotFound: 'there is no such file',
  GatedRepo: 'its terms are to be accepted on its page first',
};

function refusal(what: string, response: Response, origin: string, hasToken: boolean): HubFailure {
  const { status, headers } = response;
  const sign = hasToken ? 'the token may not read it' : 'set HF_TOKEN to a token that may read it';
  const why: Readonly<Record<number, string>> = {
    401: `there is no such model, or it is private; ${sign}`,
    403: `access is refused; ${sign}`,
    404: 'there is no such thing',
    416: 'the file is shorter than what is here already',
    429: 'too many requests',
  };
  const code = CODES[headers.get('x-error-code') ?? ''];
  const text = (status === 401 ? undefined : code) ?? why[status] ?? 'the answer is an error';
  return new HubFailure(`${what}: ${origin} answers ${status}: ${text}`, status === 429 || status >= 500);
}
