/** The worker of a page: has the model, does the work. `load` in load.ts starts it. */
import * as comlink from 'comlink';
import { folderOf } from '../formats/bytes.ts';
import type { ChatMessage, ChatOptions } from '../open/chat.ts';
import { fileOf } from '../open/files.ts';
import { checkOptions, type Model, openModel } from '../open/model.ts';
import { DEFAULT_RECIPE, recipe as recipeOf } from '../quant/recipes.ts';
import type { Session } from '../session.ts';
import type { Tensor } from '../tensor.ts';
import { type GenerateOptions, generate } from '../text/generate.ts';
import { type FetchProgress, type Files, fetchFiles } from './fetch-files.ts';
import type { Loaded, LoadRequest, Message } from './protocol.ts';

let model: Model | undefined;
const sessions = new Map<number, Session>();
let opened = 0;

const loaded = (): Model => {
  if (!model) throw new Error('quamba: this worker has no model yet');
  return model;
};
const sessionOf = (id: number): Session => {
  const session = sessions.get(id);
  if (!session) throw new Error('quamba: this session was closed');
  return session;
};
const keep = (session: Session): number => {
  sessions.set(++opened, session);
  return opened;
};

/** A ready plan, or else the weights with what calibration saw of them. */
async function filesOf(
  recipe: string,
  fetched: (names: readonly (string | string[])[]) => Promise<Files>,
): Promise<Files> {
  const plan = fileOf('plan', recipe);
  const files = await fetched([
    'config.json',
    'tokenizer.json?',
    'tokenizer_config.json?',
    'generation_config.json?',
    [`${plan}?`, 'model.safetensors'],
  ]);
  return plan in files ? files : { ...files, ...(await fetched([`${fileOf('stats', recipe)}?`])) };
}

/** Files that only a chat needs are asked for when there is one: where there is none the browser notes it in its console. */
let fetchForChat: () => Promise<void>;
const FOR_CHAT = ['chat_template.jinja?', 'special_tokens_map.json?'];

/** The functions of a page that a text in progress asks. */
interface Hooks {
  onLogits(logits: Tensor<'f32'>): Promise<unknown>;
  logitsProcessor(logits: Float32Array, tokens: readonly number[]): Promise<Float32Array>;
}

/** What the worker offers. Sessions go by number. */
const api = {
  async load(
    { url, recipe, threads, context, files, cache }: LoadRequest,
    onProgress: (progress: FetchProgress) => void,
  ): Promise<Loaded> {
    // what is wrong is told before 30 MB are fetched for it
    checkOptions({ recipe, threads, context });
    if (recipe !== undefined) recipeOf(recipe);
    let isKept = false;
    const fetched = async (how: typeof cache): Promise<Files> => {
      const fetchAll = (names: readonly (string | readonly string[])[]) =>
        fetchFiles(url, names, {
          cache: how,
          onProgress(progress) {
            isKept ||= progress.fromCache;
            onProgress(progress);
          },
        });
      return files ? fetchAll(files) : filesOf(recipe ?? DEFAULT_RECIPE, fetchAll);
    };
    const folder = new URL(url).pathname.split('/').findLast(Boolean) ?? url;
    const open = (found: Files) => {
      const all = { ...found };
      let names = files ? [] : FOR_CHAT;
      fetchForChat = async () => {
        Object.assign(all, await fetchFiles(url, names, { cache }));
        names = [];
      };
      return openModel(folderOf(folder, all), { recipe, threads, context });
    };
    model = await open(await fetched(cache)).catch(async error => {
      if (!isKept) throw error;
      // what was kept may be what was wrong
      const anew = await fetched('reload').catch(() => {
        throw error;
      });
      return open(anew);
    });
    const { name, backend, executable, info, notes } = model;
    return {
      name,
      backend,
      notes,
      about: executable.about && { ...executable.about },
      info,
      eosTokenId: model.tokenizer.eosTokenId,
      endTokenIds: model.tokenizer.endTokenIds,
    };
  },
  encode: (text: string) => loaded().encode(text),
  decode: (tokens: ArrayLike<number>) => loaded().decode(tokens),
  pieces(tokens: ArrayLike<number>) {
    const stream = loaded().tokenizer.stream();
    const end = (i: number) => (i === tokens.length - 1 ? stream.end() : '');
    return Array.from(tokens, (token, i) => stream.push(token) + end(i));
  },
  open: () => keep(loaded().session()),
  feed(id: number, tokens: ArrayLike<number>, logits: 'all' | 'last') {
    const session = sessionOf(id);
    return { logits: session.feed(tokens, { logits }), position: session.position };
  },
  reset: (id: number) => sessionOf(id).reset(),
  snapshot(id: number) {
    const bytes = sessionOf(id).snapshot();
    return comlink.transfer(bytes, [bytes.buffer as ArrayBuffer]);
  },
  restore(id: number, bytes: Uint8Array) {
    sessionOf(id).restore(bytes);
    return sessionOf(id).position;
  },
  fork: (id: number) => keep(sessionOf(id).fork()),
  close: (id: number) => void sessions.delete(id),
  generate(id: number, prompt: string | ArrayLike<number>, ...how: Writing) {
    return write(
      how,
      options => generate(sessionOf(id), loaded().tokenizer, prompt, options),
      () => sessionOf(id).position,
    );
  },
  async chat(messages: readonly ChatMessage[], ...how: Writing) {
    await fetchForChat();
    return write(how, options => loaded().chat(messages, options));
  },
};

/** How a text is written: its options, but for functions and a signal, which cannot be sent; which functions the page has; a port. */
export type Writing = readonly [
  options: Omit<GenerateOptions & ChatOptions, 'signal' | keyof Hooks>,
  has: Readonly<Record<keyof Hooks, boolean>>,
  hooks: Hooks,
  port: MessagePort,
];

/** Writes to the port, in `Message`s, until it is done or the port says 'abort'. */
async function write(
  [options, has, hooks, port]: Writing,
  begin: (options: GenerateOptions) => ReturnType<typeof generate>,
  position?: () => number,
): Promise<void> {
  const controller = new AbortController();
  port.onmessage = () => controller.abort();
  const say = (message: Message) => port.postMessage(message);
  try {
    const pieces = begin({
      ...options,
      signal: controller.signal,
      onLogits: has.onLogits ? logits => hooks.onLogits(logits) : undefined,
      logitsProcessor: has.logitsProcessor
        ? (logits, tokens) => hooks.logitsProcessor(logits, tokens)
        : undefined,
    });
    let next = await pieces.next();
    for (; !next.done; next = await pieces.next()) say({ piece: next.value });
    say({ done: next.value, position: position?.() });
  } catch (error) {
    say({ error });
  } finally {
    port.close();
  }
}

export type ModelWorker = typeof api;
comlink.expose(api);
