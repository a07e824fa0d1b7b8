/**
 * Requests to the hub: with the token where it belongs, with limits of our own for a server that means harm or is broken, and with
 * every way to fail as one sentence.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { plain } from '../formats/json.ts';
import type { HubSettings } from './cache.ts';

/** A sentence, and whether the same request may go better a moment later. */
export class HubFailure extends Error {
  readonly again: boolean;
  /** Of a server that says to come again: the milliseconds that it wants us to wait. */
  readonly after: number | undefined;
  constructor(
    message: string,
    again: boolean,
    { after, ...options }: ErrorOptions & { after?: number } = {},
  ) {
    super(message, options);
    this.again = again;
    this.after = after;
  }
}

export const LIMITS = {
  /** Milliseconds in which the next `least` bytes of a file must come; and an answer begin; and one of the API be whole. */
  window: 60_000,
  least: 65_536,
  /** Of all answers of the API for one model: a list of 1000 files has about 300 kB. */
  bytes: 32_000_000,
  requests: 100,
  /** Milliseconds that we wait because a server says so. */
  after: 120_000,
};

export interface Attempts {
  /** How often in a row an attempt may bring nothing, or less than `least` bytes of a file. */
  readonly attempts?: number;
  /** Milliseconds before the next attempt; doubled each time. */
  readonly pause?: number;
  readonly wait?: (milliseconds: number) => Promise<unknown>;
  readonly limits?: typeof LIMITS;
}

/** Waits after the attempt that failed, the `failed`th in a row. @throws the failure where no other may follow. */
export async function beforeNext(
  failure: HubFailure,
  failed: number,
  { attempts = 5, pause = 1000, wait = sleep }: Attempts,
): Promise<void> {
  if (!failure.again || failed >= attempts) throw failure;
  await wait(Math.max(pause * 2 ** failed, failure.after ?? 0));
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * One request for one model. The token goes to the hub alone: `fetch` drops it when it is led elsewhere, as every large file is.
 *
 * @throws HubFailure when nobody answers, the answer is not one of success, or it comes too slowly.
 */
export async function hubRequest(
  what: string,
  { endpoint, token, proxy }: HubSettings,
  url: string,
  more: HeadersInit = {},
  { window, least, after: longest } = LIMITS,
): Promise<Answer> {
  const { origin } = new URL(endpoint);
  const headers = new Headers(more);
  headers.set('user-agent', 'quamba pull');
  headers.set('accept-encoding', 'identity'); // a packed answer cannot be resumed
  if (token && new URL(url).origin === origin) headers.set('authorization', `Bearer ${token}`);
  const stop = new AbortController();
  const slow = new HubFailure(`${what}: ${origin} sends too little in ${window / 1000} s`, true);
  /** Only the time in which we wait for the server counts: a disk may be slow. */
  const within = async <T>(milliseconds: number, waits: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => stop.abort(slow), milliseconds);
    try {
      return await waits;
    } catch (error) {
      throw stop.signal.aborted ? slow : error;
    } finally {
      clearTimeout(timer);
    }
  };
  let response: Response;
  try {
    response = await within(window, fetch(url, { headers, signal: stop.signal }));
  } catch (error) {
    if (error instanceof HubFailure) throw error;
    const why = `${origin} cannot be reached (${plain(reasonOf(error))}); is there a network?`;
    const way =
      proxy && ` ${proxy} is set, but Node follows it only from 22.21 or 24 on, with NODE_USE_ENV_PROXY=1`;
    throw new HubFailure(`${what}: ${why}${way ?? ''}`, true, { cause: error });
  }
  const { ok, status, body } = response;
  if (!ok) {
    stop.abort();
    throw refusal(what, response, origin, token !== undefined, longest);
  }
  async function* steadily(): AsyncGenerator<Uint8Array> {
    const reader = body?.getReader();
    let [came, waited] = [0, 0];
    try {
      for (;;) {
        const asked = performance.now();
        const { value } = (await within(window - waited, reader?.read() ?? Promise.resolve(undefined))) ?? {};
        if (!value) return;
        came += value.length;
        waited += performance.now() - asked;
        if (came >= least) [came, waited] = [0, 0];
        yield value;
      }
    } catch (error) {
      if (error instanceof HubFailure) throw error;
      throw new HubFailure(`${what}: the connection broke (${plain(reasonOf(error))})`, true, {
        cause: error,
      });
    } finally {
      stop.abort();
    }
  }
  return { status, headers: response.headers, body: steadily() };
}

/**
 * `fetch` for the API of the hub: whole answers, asked for again where the server says so. All that it is asked for one model has limits.
 *
 * @throws HubFailure as hubRequest does, or where the answers have no end or lead to another server.
 */
export function hubApi(what: string, settings: HubSettings, options: Attempts): typeof fetch {
  const { origin } = new URL(settings.endpoint);
  const { limits = LIMITS } = options;
  let { bytes, requests } = limits;
  const whole = async (url: string, headers?: HeadersInit): Promise<Response> => {
    const endless = (limit: string) =>
      new HubFailure(`${what}: ${origin} lists its files without end (more than ${limit})`, false);
    if (requests-- <= 0) throw endless(`${limits.requests} requests`);
    const answer = await hubRequest(what, settings, url, headers, { ...limits, least: Infinity });
    const parts: Uint8Array[] = [];
    for await (const part of answer.body) {
      bytes -= part.length;
      if (bytes < 0) throw endless(`${limits.bytes} bytes`);
      parts.push(part);
    }
    return new Response(Buffer.concat(parts), { headers: answer.headers });
  };
  return async (input, init) => {
    const url = String(input);
    if (!URL.canParse(url) || new URL(url).origin !== origin)
      throw new HubFailure(
        `${what}: the list of its files goes on at ${plain(url)}, which is not ${origin}`,
        false,
      );
    for (let failed = 1; ; failed++)
      try {
        return await whole(url, init?.headers);
      } catch (error) {
        // where nobody answers, the user is to hear of it at once
        if (!(error instanceof HubFailure) || error.after === undefined) throw error;
        await beforeNext(error, failed, options);
      }
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

const CODES = new Map([
  ['RepoNotFound', 'there is no such model, or it is private'],
  ['RevisionNotFound', 'there is no such revision'],
  ['EntryNotFound', 'there is no such file'],
  ['GatedRepo', 'its terms are to be accepted on its page first'],
]);

function refusal(
  what: string,
  response: Response,
  origin: string,
  hasToken: boolean,
  longest: number,
): HubFailure {
  const { status, headers } = response;
  const sign = hasToken ? 'the token may not read it' : 'set HF_TOKEN to a token that may read it';
  const why: Readonly<Record<number, string>> = {
    401: `there is no such model, or it is private; ${sign}`,
    403: `access is refused; ${sign}`,
    404: 'there is no such thing',
    416: 'the file is shorter than what is here already',
    429: 'too many requests',
  };
  const code = CODES.get(headers.get('x-error-code') ?? '');
  const text = (status === 401 ? undefined : code) ?? why[status] ?? 'the answer is an error';
  const after = retryAfter(headers.get('retry-after') ?? '');
  const later =
    after > longest ? `; it asks for ${Math.ceil(after / 1000)} s of patience, so try again later` : '';
  const again = (status === 429 || status >= 500) && !later;
  return new HubFailure(`${what}: ${origin} answers ${status}: ${text}${later}`, again, { after });
}

/** Milliseconds; the header holds seconds or a date. 0 where it holds neither. */
function retryAfter(header: string): number {
  const left = /^\d+$/.test(header) ? 1000 * Number(header) : Date.parse(header) - Date.now();
  return left > 0 ? left : 0;
}
