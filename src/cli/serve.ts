/** `quamba serve`: OpenAI's protocol for the models of this machine. */
import { basename, resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { modelFolder } from '../hub/cache.ts';
import { EMBEDDED_MODEL } from '../open/node.ts';
import { type Engine, startEngine } from '../serve/process.ts';
import { server } from '../serve/server.ts';
import { command, type OptionsOf, option } from './command.ts';
import { contextOption, engineOptions, recipeOption } from './options.ts';
import { print, readText, tell, UsageError } from './terminal.ts';
import { namedTwice, positive, sizeInBytes, wholeFrom } from './values.ts';

/** A folder or a pulled model, and the name that requests give it. */
interface Named {
  readonly name: string;
  readonly folder: string;
}

/** `chat=DIR`, or `DIR`, whose last step is the name. */
function modelsNamed(texts: readonly string[]): readonly Named[] {
  const models = texts.map(text => {
    const [, given, path] = /^([\w.-]+)=(.+)$/s.exec(text) ?? [undefined, undefined, text];
    const folder = modelFolder(path);
    return { name: given ?? basename(resolve(folder)), folder };
  });
  const twice = namedTwice(models.map(({ name }) => name));
  if (twice !== undefined)
    throw new UsageError(`serve: --model expected another name for each; got '${twice}' twice`);
  return models;
}

function portNumber(text: string): number {
  const port = wholeFrom(0)(text);
  if (port > 65_535) throw new InvalidArgumentError(`expected a port of 0 … 65535; got '${text}'`);
  return port;
}

const OPTIONS = [
  option(
    '--model <dir...>',
    'folder of a model or the name of a pulled one; NAME=DIR gives it another name; several are served beside each other',
    undefined,
    undefined,
    'the embedded mamba-books-15m',
  ),
  recipeOption(),
  option('--port <n>', 'where it listens; 0 takes any that is free', portNumber, 8080),
  option(
    '--host <address>',
    'at which address; 0.0.0.0 is all of this machine, for everyone',
    undefined,
    '127.0.0.1',
  ),
  option('--parallel <n>', 'how many texts a model writes at once', wholeFrom(1), 16),
  option('--queue <n>', 'how many more requests wait; others get 429', wholeFrom(0), 64),
  option('--max-tokens <n>', 'the most tokens of an answer', wholeFrom(1), 4096),
  option('--max-body <size>', 'the most bytes of a request', sizeInBytes, 2 ** 22, '4MiB'),
  option('--timeout <s>', 'seconds until an answer must be whole', positive, 600),
  option(
    '--cache-memory <size>',
    'bytes for the beginnings of texts that are kept',
    sizeInBytes,
    2 ** 29,
    '512MiB',
  ),
  option(
    '--api-key <key>',
    'what requests must bring; or in the environment as QUAMBA_API_KEY, which no other user sees',
  ),
  option('--template <file>', "a Jinja chat template in place of the models' own"),
  contextOption,
  ...engineOptions,
] as const;

export const serveCommand = command(
  'serve',
  "Serves models by OpenAI's protocol: /v1/chat/completions, /v1/completions, /v1/models.",
  OPTIONS,
  `
Also /tokenize, /health and /metrics. Every answer has the sha256 of its logits, whoever else is served beside it: quamba generate
prints the same. SIGTERM ends it when all answers that it began are whole.

Examples:
  quamba serve --model mamba-chat
  quamba serve --model small=granite-4.0-h-350m --model large=granite-4.0-h-1b --port 8000 --parallel 8
  curl http://127.0.0.1:8080/v1/completions -H 'content-type: application/json' -d '{"prompt": "The old man", "seed": 7}'`,
).action(serve);

async function serve(options: OptionsOf<typeof OPTIONS>): Promise<void> {
  const { model, recipe, port, host, parallel, queue, maxTokens, maxBody, timeout, apiKey } = options;
  const { cacheMemory, context, threads, backend } = options;
  const named = modelsNamed(model ?? [EMBEDDED_MODEL]);
  const key = apiKey ?? process.env.QUAMBA_API_KEY;
  if (key === '') throw new UsageError('serve: --api-key expected a key; got an empty one');
  const template = options.template === undefined ? undefined : readText(options.template);
  const script = new URL('serve-engine.js', import.meta.url);
  const engines = new Map<string, Engine>();
  const closeAll = () => {
    for (const engine of engines.values()) engine.close();
  };
  try {
    for (const { name, folder } of named) {
      const of = { model: resolve(folder), recipe, backend, threads, context, cacheMemory, template };
      engines.set(name, await startEngine(script, of, why => tell(`${name}: ${why}; it is started again`)));
      const { notes, noChat } = engines.get(name)!.about;
      for (const note of notes) tell(`${name}: the model ${note}`);
      if (noChat !== undefined) tell(`${name}: answers no chats: ${noChat}`);
    }
    const app = server({
      ...{ engines, parallel, queue, timeout, apiKey: key },
      ...{ mostTokens: maxTokens, mostBytes: maxBody },
    });
    const address = await app.listen({ port, host });
    const ended = new Promise<void>(done => {
      let asked = false;
      const end = (signal: NodeJS.Signals) => {
        if (asked) {
          closeAll();
          process.exit(signal === 'SIGINT' ? 130 : 143);
        }
        asked = true;
        tell(`${signal}: no more requests are taken; those that were begun are answered`);
        void app.close().then(done);
      };
      process.on('SIGTERM', end);
      process.on('SIGINT', end);
    });
    print(`${[...engines.keys()].join(', ')} at ${address}`);
    await ended;
  } finally {
    closeAll();
  }
}
