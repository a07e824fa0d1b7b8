/** The process of a model: it writes what it is asked for, all at once, and tells each piece as it comes. */
import { basename } from 'node:path';
import type { Model, ModelOptions } from '../open/model.ts';
import { load } from '../open/node.ts';
import { type LogProb, type Piece, tokensOf } from '../text/generate.ts';
import { penalized } from './penalties.ts';
import type {
  About,
  EngineOptions,
  Order,
  Report,
  TokenChance,
  WriteRequest,
  Written,
  WrittenPiece,
} from './protocol.ts';

/** A request that cannot be done, and the code that the protocol has for why. */
class WrongRequest extends Error {
  readonly code: string | undefined;
  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/** Does what it is ordered to. `stats` tells what there is now. */
export function engine(model: Model, report: (report: Report) => void, template?: string) {
  const aborts = new Map<number, AbortController>();
  const pieceOf = pieces(model);
  const write = async (id: number, request: WriteRequest): Promise<void> => {
    const abort = new AbortController();
    aborts.set(id, abort);
    try {
      const prompt = wrongIfThrown(() => promptOf(model, request, template));
      checkRoom(model, prompt.length);
      report({ of: id, begun: { promptTokens: prompt.length } });
      const { sampling, penalties, maxTokens, stop, logprobs } = request;
      const writing = wrongIfThrown(() =>
        model.complete(prompt, {
          ...sampling,
          ...{ stop, logprobs, maxTokens, signal: abort.signal },
          logitsProcessor: penalized(penalties, prompt.length),
        }),
      );
      let next = await writing.next();
      for (; !next.done; next = await writing.next()) report({ of: id, piece: pieceOf(next.value) });
      const { promptTokens, tokens, ...rest } = next.value;
      const done: Written = { ...rest, promptTokens: promptTokens.length, tokens: tokens.length };
      report({ of: id, done });
    } catch (error) {
      report({ of: id, ...failureOf(error, model) });
    } finally {
      aborts.delete(id);
    }
  };
  return {
    do(order: Order): void {
      if ('cancel' in order) aborts.get(order.cancel)?.abort();
      else if ('write' in order) void write(order.write, order.request);
      else
        try {
          report({ of: order.tokenize, tokens: [...wrongIfThrown(() => model.encode(order.text))] });
        } catch (error) {
          report({ of: order.tokenize, ...failureOf(error, model) });
        }
    },
    stats: () => ({
      keptTexts: model.kept.size,
      keptBytes: model.kept.bytes,
      memoryBytes: model.executable.about?.memoryBytes ?? 0,
      writing: aborts.size,
    }),
  };
}

/** Whoever asks need not know where the model lies. */
const failureOf = (error: unknown, { name }: Model) => ({
  failed: (error instanceof Error ? error.message : String(error)).replaceAll(name, basename(name)),
  isRequest: error instanceof WrongRequest,
  code: error instanceof WrongRequest ? error.code : undefined,
});

function wrongIfThrown<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new WrongRequest((error as Error).message);
  }
}

function promptOf(model: Model, { prompt }: WriteRequest, template?: string): Int32Array {
  if ('messages' in prompt) return model.promptOf(prompt.messages, { tools: prompt.tools, template });
  const { tokenizer, info } = model;
  const given = 'tokens' in prompt ? prompt.tokens : prompt.text;
  return tokensOf(given, tokenizer, { vocabSize: info.config.vocabSize, logits: undefined });
}

/** A text that has no room to go on ends there; one that has none to begin is wrong. */
function checkRoom({ executable }: Model, promptTokens: number): void {
  const context = executable.about?.sizes?.context ?? Number.POSITIVE_INFINITY;
  if (promptTokens >= context)
    throw new WrongRequest(
      `the prompt has ${promptTokens} tokens; the context of this server holds ${context}, with the answer`,
      'context_length_exceeded',
    );
}

/** What is told of a piece. */
function pieces({ tokenizer }: Model): (piece: Piece) => WrittenPiece {
  const chance = ({ token, logprob }: LogProb): TokenChance => ({
    text: tokenizer.decode([token], { skipSpecial: false }),
    bytes: [...tokenizer.bytesOf(token)],
    logprob,
  });
  return ({ token, text, logprob, likeliest }) => ({
    text,
    ...(logprob !== undefined && { chance: chance({ token, logprob }), likeliest: likeliest?.map(chance) }),
  });
}

export function aboutOf(model: Model, template?: string): About {
  const { info, backend, executable, notes } = model;
  let noChat: string | undefined;
  try {
    model.promptOf([{ role: 'user', content: 'Hi' }], { template });
  } catch (error) {
    noChat = (error as Error).message;
  }
  const sizes = executable.about?.sizes;
  return {
    recipe: info.recipe.name,
    ...{ backend, notes, noChat, sizes },
    threads: executable.about?.threads ?? 1,
    identity: model.identity,
    vocabSize: info.config.vocabSize,
    context: sizes?.context,
  };
}

/** How often what there is now is told, in milliseconds, if it is another than before. */
const STATS_EVERY = 500;

/** What the process runs that process.ts starts, until its parent is gone. */
export async function runEngine(
  { model: path, template, ...options }: EngineOptions,
  tells: Pick<ModelOptions, 'onProgress' | 'onWarning'> = {},
): Promise<void> {
  const report = (message: Report) => void process.send?.(message);
  process.on('SIGINT', () => {}); // the key that ends a terminal's programs is for the parent to answer
  process.on('disconnect', () => process.exit());
  try {
    const model = await load(path, { ...options, ...tells });
    const running = engine(model, report, template);
    process.on('message', (order: Order) => running.do(order));
    let told = '';
    setInterval(() => {
      const stats = running.stats();
      const words = JSON.stringify(stats);
      if (words !== told) report({ stats });
      told = words;
    }, STATS_EVERY);
    report({ ready: aboutOf(model, template) });
  } catch (error) {
    report({ unready: (error as Error).message });
  }
}
