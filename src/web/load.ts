/**
 * `load` for a page: the model lives in a worker, so that the page stays smooth, and with threads of its own where the page is
 * isolated from other origins. What Node's `load` gives at once, this one gives as promises; the bits are the same.
 */
import * as comlink from 'comlink';
import { array, object, oneOf, show, string, unexpected } from '../formats/json.ts';
import type { Answer, ChatMessage, ChatOptions } from '../open/chat.ts';
import type { Tensor } from '../tensor.ts';
import type { Generated, GenerateOptions, Piece } from '../text/generate.ts';
import type { FetchProgress } from './fetch-files.ts';
import type { Loaded, LoadRequest, Message } from './protocol.ts';
import type { ModelWorker, Writing } from './worker.ts';

export interface WebLoadOptions extends Omit<LoadRequest, 'url'> {
  readonly onProgress?: (progress: FetchProgress) => void;
  /**
   * The address of the worker's script, where no bundler took it along: that of dist/browser/worker.js, or of what a bundler made
   * of quamba/web/worker. Default: what the bundler made of it, or else worker.js beside this module.
   */
  readonly worker?: string | URL;
  /** Ends the worker while it loads. */
  readonly signal?: AbortSignal;
}

/** A text in progress, in the worker. See Session for what each does. */
export interface WebSession {
  /** Tokens fed since the start of the text, as of the last answer. */
  readonly position: number;
  feed(tokens: ArrayLike<number>, options?: { readonly logits?: 'all' | 'last' }): Promise<Tensor<'f32'>>;
  /**
   * Writes on from where the session stands. The worker does not wait for whoever reads: a reader that stops early stops the
   * writing, and `position` says how far it had come.
   */
  generate(
    prompt: string | ArrayLike<number>,
    options?: GenerateOptions,
  ): AsyncGenerator<Piece, Generated, void>;
  reset(): Promise<void>;
  snapshot(): Promise<Uint8Array>;
  restore(bytes: Uint8Array): Promise<void>;
  fork(): Promise<WebSession>;
  /** Frees the state. */
  close(): void;
}

export interface WebModel extends Loaded {
  encode(text: string): Promise<Int32Array>;
  decode(tokens: ArrayLike<number>): Promise<string>;
  /** The text of each token, as `generate` would write it: together they are decode(tokens). */
  pieces(tokens: ArrayLike<number>): Promise<string[]>;
  session(): Promise<WebSession>;
  /** Writes on from a prompt (text, or token ids) in a new session. */
  generate(
    prompt: string | ArrayLike<number>,
    options?: GenerateOptions,
  ): AsyncGenerator<Piece, Generated, void>;
  /** Answers the last of the messages, as in Node; the states of earlier turns are kept in the worker. */
  chat(messages: readonly ChatMessage[], options?: ChatOptions): AsyncGenerator<Piece, Answer, void>;
  /** Ends the threads and the worker; what still waits for an answer is rejected. */
  dispose(): Promise<void>;
}

/** The names of `WebLoadOptions`, against misspelt ones. */
const WEB_OPTIONS: readonly (keyof WebLoadOptions)[] = [
  ...(['recipe', 'threads', 'context', 'files', 'cache', 'worker', 'onProgress', 'signal'] as const),
];

/**
 * Loads a model from the folder at `url`, by default the one that comes with the package, into a worker.
 *
 *   const model = await load('/models/mamba-books-15m', { onProgress });
 *   for await (const { text } of model.generate('The old man', { signal })) output.append(text);
 *
 * @throws Error in one sentence that names the file and what is wrong with it; the signal's reason.
 */
export async function load(url?: string | URL, options: WebLoadOptions = {}): Promise<WebModel> {
  checkOptions(options);
  const { onProgress = () => {}, signal, worker: given, ...request } = options;
  signal?.throwIfAborted();
  const folder = address(url ?? beside('../../models/mamba-books-15m/'), 'load', "of a model's folder");
  const script = given === undefined ? undefined : address(given, 'load: worker', 'of a script');
  const worker = startWorker(script);
  const remote = comlink.wrap<ModelWorker>(worker);
  const ending = new AbortController();
  ending.signal.addEventListener('abort', () => worker.terminate());
  worker.onerror = event => {
    event.preventDefault();
    ending.abort(event.message ? new Error(`quamba: the worker failed: ${event.message}`) : noWorker(script));
  };
  const leave = onAbort(signal, reason => ending.abort(reason));
  /** What the page throws here would be lost in the worker. */
  const tell = (progress: FetchProgress) => {
    try {
      onProgress(progress);
    } catch (error) {
      ending.abort(error);
    }
  };
  try {
    const asked = remote.load({ ...request, url: folder.href }, comlink.proxy(tell));
    return modelOf(await answered(asked, ending.signal), remote, ending);
  } catch (error) {
    ending.abort(error);
    throw error;
  } finally {
    leave();
  }
}

/** @throws TypeError for an option that there is not, and for one that is not what it should be. Of threads and the context the worker knows. */
function checkOptions(options: WebLoadOptions): void {
  const { recipe, files, cache, onProgress, signal } = object(options, 'load', WEB_OPTIONS);
  if (recipe !== undefined) string(recipe, 'load: recipe');
  if (files !== undefined)
    for (const [i, file] of array(files, 'load: files').entries()) string(file, `load: files[${i}]`);
  if (cache !== undefined) oneOf(cache, 'load: cache', [true, false, 'reload']);
  if (onProgress !== undefined && typeof onProgress !== 'function')
    unexpected('load: onProgress', 'a function', onProgress);
  if (signal !== undefined && typeof (signal as AbortSignal | null)?.throwIfAborted !== 'function')
    unexpected('load: signal', 'an AbortSignal', signal);
}

/** The address of what lies beside this module. It is no `new URL(…, import.meta.url)`, which bundlers would try to resolve. */
const beside = (path: string): string | undefined => import.meta.url?.replace(/[^/]*$/, path);

function address(url: unknown, where: string, what: string): URL {
  if (typeof url === 'string' || url instanceof URL)
    try {
      return new URL(url, globalThis.location?.href);
    } catch {
      // it is none
    }
  throw new TypeError(`${where}: expected the address ${what}; got ${show(url)}`);
}

function startWorker(script?: URL): Worker {
  const name = 'quamba model';
  try {
    // in this form bundlers recognize it
    if (!script) return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name });
    return new Worker(script, { type: 'module', name });
  } catch (error) {
    // A script of another origin than the page's, as from a CDN, may not be started, but imported by one that is the page's own.
    const isForeign = error instanceof DOMException && error.name === 'SecurityError';
    if (!isForeign) throw noWorker(script);
    const own = new Blob([`import ${JSON.stringify(script ?? beside('worker.js'))};`], {
      type: 'text/javascript',
    });
    return new Worker(URL.createObjectURL(own), { type: 'module', name });
  }
}

const noWorker = (script?: URL): Error =>
  new Error(
    `quamba: the worker's script did not load; it was looked for at ${script ?? beside('worker.js')}` +
      `${script ? '' : ', where no bundler took it along; the option worker of load says where it is'}` +
      ' (a Content-Security-Policy must allow it: worker-src)',
  );

/** Calls back with the reason when a signal is aborted, or at once where it is already, until the returned function is called. */
function onAbort(signal: AbortSignal | undefined, tell: (reason: unknown) => void): () => void {
  const told = () => tell(signal!.reason);
  if (signal?.aborted) told();
  else signal?.addEventListener('abort', told, { once: true });
  return () => signal?.removeEventListener('abort', told);
}

/** What a worker answers, or why there will be no answer: `ended` is aborted when the worker is gone. */
const answered = <T>(asked: Promise<T>, ended: AbortSignal): Promise<T> =>
  new Promise((resolve, reject) => {
    const leave = onAbort(ended, reject);
    asked.then(resolve, reject).finally(leave);
  });

/** @param ending ends the worker, or tells that it has ended */
function modelOf(loaded: Loaded, remote: comlink.Remote<ModelWorker>, ending: AbortController): WebModel {
  const answer = <T>(asked: Promise<T>): Promise<T> => answered(asked, ending.signal);
  const sessionOf = (id: number, start = 0): WebSession => {
    let position = start;
    return {
      get position() {
        return position;
      },
      async feed(tokens, options = {}) {
        const { logits = 'all' } = object(options, 'feed: options') as typeof options;
        const fed = await answer(remote.feed(id, tokens, logits));
        position = fed.position;
        return fed.logits;
      },
      generate: (prompt, options) =>
        written<Generated>(
          ending.signal,
          options,
          (...how) => remote.generate(id, prompt, ...how),
          after => {
            position = after;
          },
        ),
      async reset() {
        await answer(remote.reset(id));
        position = 0;
      },
      snapshot: () => answer(remote.snapshot(id)),
      async restore(bytes) {
        position = await answer(remote.restore(id, bytes));
      },
      fork: async () => sessionOf(await answer(remote.fork(id)), position),
      close: () => void remote.close(id),
    };
  };
  const session = async () => sessionOf(await answer(remote.open()));
  return {
    ...loaded,
    encode: text => answer(remote.encode(text)),
    decode: tokens => answer(remote.decode(tokens)),
    pieces: tokens => answer(remote.pieces(tokens)),
    session,
    async *generate(prompt, options) {
      const own = await session();
      try {
        return yield* own.generate(prompt, options);
      } finally {
        own.close();
      }
    },
    chat: (messages, options) =>
      written<Answer>(ending.signal, options, (...how) => remote.chat(messages, ...how)),
    // The threads are the worker's own workers, which end with it. Ended before it, they often stayed in Chromium for ever, and
    // it too: what the last of them told it was lost when it was terminated just then.
    dispose: async () => ending.abort(new Error('model: it was disposed of')),
  };
}

/**
 * What the worker writes to a port, as a generator. Where the reader stops early, it waits until the worker has stopped too.
 *
 * @param ask hands the worker what it needs to write
 * @param onPosition is told where a session stands after it
 */
async function* written<End extends Generated>(
  ended: AbortSignal,
  given: GenerateOptions = {},
  ask: (...how: Writing) => Promise<unknown>,
  onPosition: (position: number) => void = () => {},
): AsyncGenerator<Piece, End, void> {
  const { signal, onLogits, logitsProcessor, ...options } = object(given, 'options') as GenerateOptions;
  const { port1: port, port2 } = new MessageChannel();
  const messages: Message[] = [];
  let over = false;
  let wake = () => {};
  const arrived = (message: Message) => {
    messages.push(message);
    if ('done' in message && message.position !== undefined) onPosition(message.position);
    over ||= !('piece' in message);
    wake();
  };
  const nextArrival = () =>
    new Promise<void>(resolve => {
      wake = resolve;
    });
  port.onmessage = ({ data }: MessageEvent<Message>) => arrived(data);
  const abort = () => port.postMessage('abort');
  const leaves = [onAbort(ended, error => arrived({ error })), onAbort(signal, abort)];
  const hooks = comlink.proxy({
    onLogits: async (logits: Tensor<'f32'>) => onLogits!(logits),
    logitsProcessor: async (logits: Float32Array, tokens: readonly number[]) =>
      logitsProcessor!(logits, tokens),
  });
  const has = { onLogits: !!onLogits, logitsProcessor: !!logitsProcessor };
  // What cannot be sent, such as a function among the options, would never be answered on the port.
  ask(options, has, hooks, comlink.transfer(port2, [port2])).catch(error => arrived({ error }));
  try {
    for (;;) {
      while (messages.length === 0) await nextArrival();
      const message = messages.shift()!;
      if ('error' in message) throw message.error;
      if ('done' in message) return message.done as End;
      yield message.piece;
    }
  } finally {
    if (!over) abort();
    while (!over) await nextArrival();
    for (const leave of leaves) leave();
    port.close();
  }
}
