/** `quamba generate`: writes on from a prompt. */
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import { decodeUtf8 } from '../formats/bytes.ts';
import { modelName } from '../hub/cache.ts';
import { load } from '../open/node.ts';
import { calibrating } from './calibrating.ts';
import { command, type OptionsOf, option } from './command.ts';
import {
  checkWriting,
  contextOption,
  engineOptions,
  fullContext,
  jsonOption,
  modelOption,
  recipeOption,
  writingOptions,
} from './options.ts';
import { checkStdin, printJson, rate, readGiven, tell, UsageError } from './terminal.ts';
import { tokenList } from './values.ts';

const OPTIONS = [
  option('--prompt <text>', 'text to go on from; - reads it from standard input'),
  option('--prompt-file <file>', 'a file with the text to go on from'),
  option('--tokens <ids>', 'token ids to go on from, such as 1,2,3, instead of a prompt', tokenList),
  ...writingOptions(128),
  modelOption,
  recipeOption(),
  ...engineOptions,
  contextOption,
  jsonOption,
] as const;

export const generateCommand = command(
  'generate',
  'Writes on from a prompt.',
  OPTIONS,
  `
Examples:
  quamba generate --prompt "The old man looked out of the window and saw"
  quamba generate --prompt "It was a dark night" --recipe naive-static --seed 7
  quamba generate --prompt - < chapter.txt
  quamba generate --tokens 510,1543,3081 --max-tokens 16 --temperature 0 --json`,
).action(generate);

/** The prompt as it is given, from a file or from standard input. The line break that ends a file is not part of it. */
async function promptText({ prompt, promptFile }: OptionsOf<typeof OPTIONS>): Promise<string> {
  if (prompt !== undefined && prompt !== '-') return prompt;
  if (promptFile === undefined) checkStdin();
  const bytes = promptFile === undefined ? await buffer(process.stdin) : readGiven(promptFile);
  const text = decodeUtf8(bytes);
  if (text === undefined)
    throw new UsageError(`${promptFile ?? 'standard input'}: expected UTF-8 text; got bytes that are not`);
  return text.replace(/\r?\n$/, '');
}

async function generate(options: OptionsOf<typeof OPTIONS>, self: Command): Promise<void> {
  const {
    prompt,
    promptFile,
    tokens,
    model: path,
    recipe,
    backend,
    threads,
    context,
    json,
    ...sampling
  } = options;
  if ([prompt, promptFile, tokens].filter(given => given !== undefined).length !== 1)
    throw new UsageError(
      'generate: give either --prompt TEXT or --tokens IDS; or --prompt-file FILE, or --prompt - for standard input',
    );
  checkWriting(self, sampling);
  const text = tokens ? undefined : await promptText(options);
  const model = await load(path, { recipe, backend, threads, context, ...calibrating() });
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  process.once('SIGINT', interrupt);
  let isRead = true;
  process.stdout.once('error', () => {
    isRead = false;
    interrupt();
  });
  const how = { ...sampling, signal: abort.signal, hashLogits: json };
  const writing = model.complete(text ?? tokens!, how);
  if (!json) process.stdout.write(text ?? model.decode(tokens!));
  let next = await writing.next();
  for (; !next.done; next = await writing.next()) if (!json) process.stdout.write(next.value.text);
  process.off('SIGINT', interrupt);
  model.dispose();

  const {
    tokens: written,
    promptTokens,
    finishReason,
    promptSeconds,
    decodeSeconds,
    logitsHash,
    answerHash,
  } = next.value;
  const tokensPerSecond = {
    prefill: rate(promptTokens.length, promptSeconds),
    decode: rate(Math.max(written.length - 1, 0), decodeSeconds),
  };
  const about = { recipe: model.info.recipe.name, backend: model.backend };
  if (json)
    printJson({
      model: modelName(path),
      text: next.value.text,
      tokens: [...written],
      promptTokens: [...promptTokens],
      finishReason,
      ...about,
      seed: options.seed,
      logitsHash,
      answerHash,
      tokensPerSecond,
    });
  else if (isRead) {
    process.stdout.write('\n');
    tell('');
    const [prefill, decode] = Object.values(tokensPerSecond).map(n => Number(n.toPrecision(3)));
    tell(
      `${about.recipe} on ${about.backend}: ${written.length} tokens, prefill ${prefill}/s, decode ${decode}/s`,
    );
    if (finishReason === 'context') tell(fullContext(next.value));
  }
  if (finishReason === 'aborted' && isRead) process.exitCode = 130;
}
