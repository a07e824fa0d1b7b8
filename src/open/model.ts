/**
 * From a folder of files to a model that writes: reads a checkpoint (Hugging Face, state-spaces, or one made by
 * `quamba quantize`), applies a recipe, and gives sessions.
 *
 * Files it knows, all in one folder:
 *   config.json, model.safetensors (or shards with their index), tokenizer.json, tokenizer_config.json, generation_config.json
 *   chat_template.jinja, special_tokens_map.json      for `chat`
 *   model.safetensors or plan.<recipe>.safetensors    a quantized checkpoint: loads as it is
 *   stats.<recipe>.safetensors                        what calibration saw: quantizes without calibrating again
 */

import { type Backend, prepare } from '../backends/backend.ts';
import { backend as backendOf, defaultBackend } from '../backends/index.ts';
import { noThreadStarts, processors } from '../backends/wasm/threads.ts';
import { probes } from '../backends/wasm/variants.ts';
import { batches } from '../batches.ts';
import type { Executable } from '../executable.ts';
import type { Folder } from '../formats/bytes.ts';
import { count, object, unexpected } from '../formats/json.ts';
import type { Tokenizer } from '../formats/tokenizer.ts';
import type { Program } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { once } from '../once.ts';
import { identity } from '../plan/identity.ts';
import { CONTEXT } from '../plan/sizes.ts';
import type { PlanInfo } from '../quant/checkpoint.ts';
import { createSession, type Session } from '../session.ts';
import { type GenerateOptions, generate } from '../text/generate.ts';
import { type GenerateManyOptions, generateMany } from '../text/generate-many.ts';
import { type Chats, chats } from './chat.ts';
import { type Completions, completions } from './completions.ts';
import { openPlan, type PlanOptions, type Preparing } from './plan.ts';
import { openTokenizer } from './tokenizer.ts';

export interface ModelOptions extends PlanOptions {
  /** Default: wasm, where the engine can run it. The reference gives the same bits, slowly. */
  readonly backend?: string | Backend;
  /** How many threads share the work, 1 by default. The bits do not depend on it. */
  readonly threads?: number;
  /**
   * The most tokens of a text, where states of the model grow with it (attention): memory is kept for so many. Default: what the model
   * was made for, at most 8,192. A model whose states do not grow reads texts of any length, and ignores it.
   */
  readonly context?: number;
  /** The most bytes for where texts of `complete` and `chat` stood; the two last stay in any case. Default: 256 MiB. */
  readonly cacheMemory?: number;
}

export interface Model {
  readonly name: string;
  readonly backend: string;
  /** What runs the plan; `executable.about` tells its kernels, threads and memory. */
  readonly executable: Executable;
  /** Sentences that say what this place does not give: fewer threads than asked for, no WebAssembly. */
  readonly notes: readonly string[];
  readonly info: PlanInfo;
  /** The hash of the model and its recipe: of all weights' names, types and shapes, and of some of their values. */
  readonly identity: string;
  /** The fused plan, or the float graph where the recipe quantizes nothing. */
  readonly plan: Program;
  /** Where the folder has no tokenizer.json it knows ids only: every text is empty, and encoding one is an error. */
  readonly tokenizer: Tokenizer;
  encode(text: string): Int32Array;
  decode(tokens: ArrayLike<number>): string;
  session(): TextSession;
  /** Writes on from a prompt (text, or token ids) in a new session. */
  generate(prompt: string | ArrayLike<number>, options?: GenerateOptions): ReturnType<typeof generate>;
  /** Writes on from several prompts at the same time, see text/generate-many.ts. */
  generateMany(
    prompts: readonly (string | ArrayLike<number>)[],
    options?: GenerateManyOptions,
  ): ReturnType<typeof generateMany>;
  /**
   * Writes on from a prompt as `generate` does, and keeps where the text stood, so that a later one that begins alike costs its new
   * tokens only. See open/completions.ts.
   */
  readonly complete: Completions['complete'];
  /** Answers the last of the messages, see open/chat.ts; what was said before is kept as by `complete`. */
  readonly chat: Chats['chat'];
  /** The tokens of a chat that `chat` answers after: what the chat template makes of the messages. */
  readonly promptOf: Chats['promptOf'];
  /** How many texts `complete` and `chat` keep, and the bytes they take. */
  readonly kept: Completions['kept'];
  dispose(): void;
}

/** A session that knows its model's tokenizer. */
export interface TextSession extends Session {
  /** Writes on from where the session stands, see text/generate.ts; with an empty prompt from where it stopped. */
  generate(prompt: string | ArrayLike<number>, options?: GenerateOptions): ReturnType<typeof generate>;
  fork(): TextSession;
}

/** The names of `ModelOptions`, against misspelt ones. */
const MODEL_OPTIONS: readonly (keyof ModelOptions)[] = [
  ...(['recipe', 'threads', 'context', 'cacheMemory', 'backend'] as const),
  ...(['text', 'samples', 'window', 'recalibrate', 'onProgress', 'onWarning', 'cache'] as const),
];

/** @throws TypeError for an option that there is not, and for one that is not what it should be. */
export function checkOptions(options: ModelOptions): void {
  const given = Object.entries(object(options, 'load', MODEL_OPTIONS)).filter(([, v]) => v !== undefined);
  for (const [key, value] of given) {
    const where = `load: ${key}`;
    if (COUNTS.includes(key)) count(value, where);
    if (CALLBACKS.includes(key) && typeof value !== 'function') unexpected(where, 'a function', value);
    for (const method of METHODS[key as keyof typeof METHODS] ?? [])
      if (key !== 'backend' || typeof value !== 'string') {
        const found = object(value, where)[method];
        if (typeof found !== 'function') unexpected(`${where}.${method}`, 'a function', found);
      }
  }
}
const COUNTS: readonly string[] = ['threads', 'context', 'cacheMemory', 'samples', 'window'];
const CALLBACKS: readonly string[] = ['onProgress', 'onWarning'];
/** What an option that is an object must have. */
const METHODS = { backend: ['kernelOf'], text: ['read'], cache: ['open', 'write'] } as const;

/** @throws Error, RangeError or TypeError in one sentence that names what is wrong and where. */
export async function openModel(folder: Folder, options: ModelOptions = {}): Promise<Model> {
  checkOptions(options);
  const backend =
    typeof options.backend === 'object' ? options.backend : backendOf(options.backend ?? defaultBackend());
  const possible = once(() => threadsFor(options, backend));
  const preparing: Preparing = async context => {
    const { threads } = await possible();
    return program => prepare(backend, program, { threads, context });
  };
  const { plan, info, close } = await openPlan(folder, options, preparing);
  let executable: Executable | undefined;
  try {
    executable = (await preparing(options.context ?? defaultContext(info.config)))(plan);
    await executable.ready;
  } catch (error) {
    executable?.dispose?.();
    close();
    throw error;
  }
  const notes = [];
  if (options.backend === undefined && backend.name === 'reference')
    notes.push(`runs on the reference, which is slow: ${probes().at(-1)!.why}`);
  const { threads: asked = 1 } = options;
  const got = executable.about?.threads ?? 1;
  if (got < asked) notes.push(`has ${got} of ${asked} threads: ${(await possible()).why}`);
  for (const note of notes) options.onWarning?.(`the model ${note}`);
  const runnable = {
    program: plan,
    executable,
    batches: batches(executable),
    vocabSize: info.config.vocabSize,
    name: `${folder.name.split(/[/\\]/).findLast(step => step !== '')} as ${info.recipe.name}`,
    identity: once(() =>
      identity(plan.weights, plan.graph.weights.keys(), [info.recipe.scheme, info.source]),
    ),
  };
  const tokenizer = once(() => openTokenizer(folder, info.config));
  const { complete, kept, clear } = completions(runnable, tokenizer, options.cacheMemory);
  /** In a session of its own. Wrong arguments are an error at once. */
  const write: Model['generate'] = (prompt, how) => {
    const session = createSession(runnable);
    try {
      return closing(session, generate(session, tokenizer(), prompt, how));
    } catch (error) {
      session.close();
      throw error;
    }
  };
  const withText = (session: Session): TextSession => {
    const { fork } = session;
    return Object.assign(session, {
      generate: (...[prompt, how]: Parameters<TextSession['generate']>) =>
        generate(session, tokenizer(), prompt, how),
      fork: () => withText(fork()),
    });
  };
  return {
    name: folder.name,
    backend: backend.name,
    executable,
    notes,
    info,
    plan,
    get identity() {
      return runnable.identity();
    },
    get tokenizer() {
      return tokenizer();
    },
    encode: text => tokenizer().encode(text),
    decode: tokens => tokenizer().decode(tokens),
    session: () => withText(createSession(runnable)),
    generate: write,
    generateMany: (prompts, how) => generateMany(write, prompts, how),
    complete,
    ...chats(folder, tokenizer, complete),
    kept,
    dispose() {
      clear();
      executable.dispose?.();
      close();
    },
  };
}

/** As many tokens as the model was made for, up to a size that any machine has memory for. */
export const defaultContext = ({ maxPositions = CONTEXT }: Config): number => Math.min(maxPositions, CONTEXT);

/** How many of the threads that were asked for can be had, and why not all. More than processors would only wait for each other. */
async function threadsFor({ threads: asked = 1 }: ModelOptions, backend: Backend) {
  if (asked === 1) return { threads: 1, why: '' };
  if (backend.name !== 'wasm') return { threads: asked, why: `backend ${backend.name} has no others` };
  const why = await noThreadStarts();
  if (why !== undefined) return { threads: 1, why };
  const most = processors();
  return { threads: Math.min(asked, most), why: `this machine runs ${most} at once` };
}

/** Closes the session when the writing ends or is left. */
async function* closing(session: Session, pieces: ReturnType<typeof generate>): ReturnType<typeof generate> {
  try {
    return yield* pieces;
  } finally {
    session.close();
  }
}
