/** `quamba chat`: answers what is typed, or messages that another program writes to standard input. */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { parseJsonText } from '../formats/json.ts';
import { modelName } from '../hub/cache.ts';
import {
  type Answer,
  type ChatMessage,
  type ChatOptions,
  checkMessage,
  checkMessages,
} from '../open/chat.ts';
import type { Model } from '../open/model.ts';
import { load } from '../open/node.ts';
import { calibrating } from './calibrating.ts';
import { command, type OptionsOf, option } from './command.ts';
import { conversation, lineReader } from './conversation.ts';
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
import { checkStdin, printJson, rate, readText, tell, UsageError, usage } from './terminal.ts';

const OPTIONS = [
  option('--system <text>', 'what the model is told first'),
  option('--template <file>', "a Jinja chat template in place of the model's own"),
  ...writingOptions(512),
  modelOption,
  recipeOption(),
  contextOption,
  ...engineOptions,
  jsonOption,
] as const;

export const chatCommand = command(
  'chat',
  'Chats with a model that has a chat template.',
  OPTIONS,
  `
/help lists the commands: /system, /save, /load, /fork, /go, /undo, /reset. Ctrl-C stops an answer, and what was written stays; at the
prompt it drops what is typed, or leaves where nothing is.

With --json standard input holds either one array of messages, which gets one answer, or messages one a line: "a text" of the
user, or {"role": …, "content": …}. Each line is answered before the next is read, but for those of the system and the assistant.
An answer is one JSON object on a line: content, tokens, finishReason (eos, stop, length, context, aborted), logitsHash (of the whole
chat, as of one long prompt of quamba generate), answerHash (of the logits that its tokens were drawn from), promptTokens and
keptTokens (how many there were, and how many not fed again).

Examples:
  quamba chat --model mamba-chat --system "Be brief."
  quamba chat --template dialogue.jinja --stop "”"
  quamba chat --model mamba-chat --json < messages.json`,
).action(chat);

/** How the messages are answered: with the options of the command line and these. */
type Ask = (messages: readonly ChatMessage[], more: ChatOptions) => ReturnType<Model['chat']>;

/** Of what runs, until Ctrl-C or a reader that left stops it. */
let running: AbortController | undefined;

async function chat(options: OptionsOf<typeof OPTIONS>, self: Command): Promise<void> {
  const {
    system,
    template: file,
    model: path,
    recipe,
    backend,
    threads,
    context,
    json,
    ...sampling
  } = options;
  checkWriting(self, sampling);
  const template = file === undefined ? undefined : readText(file);
  checkStdin();
  const model = await load(path, { recipe, backend, threads, context, ...calibrating() });
  try {
    const ask: Ask = (messages, more) => model.chat(messages, { ...sampling, template, ...more });
    const about = {
      model: modelName(path),
      recipe: model.info.recipe.name,
      backend: model.backend,
      seed: options.seed,
    };
    if (json) await answerLines(ask, system, about);
    else {
      // a model without a template is told before anything is typed
      const first = conversation(system);
      first.add('user', 'Hi');
      await ask(first.messages, { signal: AbortSignal.abort() }).next();
      await converse(ask, system);
    }
  } finally {
    model.dispose();
    process.stdin.destroy(); // a writer that has not closed its end of a pipe would keep the program
  }
}

/** Shows the pieces as they come. Ctrl-C ends the answer, which is as long as it is. */
async function answerTo(
  messages: readonly ChatMessage[],
  ask: Ask,
  more: ChatOptions,
  show: (text: string) => void,
): Promise<Answer> {
  running = new AbortController();
  try {
    const pieces = ask(messages, { ...more, signal: running.signal });
    let next = await pieces.next();
    for (; !next.done; next = await pieces.next()) show(next.value.text);
    return next.value;
  } finally {
    running = undefined;
  }
}

async function converse(ask: Ask, system: string | undefined): Promise<void> {
  const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  const talk = conversation(system);
  const reader = lineReader();
  const lines = createInterface({
    input: process.stdin,
    output: isTerminal ? process.stdout : undefined,
    terminal: isTerminal,
  });
  const interrupt = () => {
    if (running) running.abort();
    else if (isTerminal && (reader.isOpen || lines.line !== '')) {
      reader.end(); // forgets it
      process.stdout.write('\n');
      lines.write(null, { ctrl: true, name: 'e' }); // to the end of the line, which is then cut from its start on
      lines.write(null, { ctrl: true, name: 'u' });
      prompt();
    } else lines.close();
  };
  lines.on('SIGINT', interrupt); // of a terminal, which hands the key to the program
  process.on('SIGINT', interrupt);
  process.stdout.once('error', () => {
    running?.abort();
    lines.close();
  });
  const prompt = () => {
    lines.setPrompt(reader.isOpen ? '… ' : talk.name === 'main' ? '> ' : `${talk.name}> `);
    if (isTerminal) lines.prompt();
  };
  const take = async (text: string, isPlain: boolean): Promise<void> => {
    try {
      if (isPlain && text.startsWith('/')) for (const said of await talk.command(text)) tell(said);
      else if (text.trim() !== '') await say(text);
    } catch (error) {
      if (!isTerminal) throw error;
      tell((error as Error).message);
    }
  };
  /** A message that is not answered is taken back. */
  const say = async (text: string): Promise<void> => {
    talk.add('user', text);
    let answer: Answer;
    try {
      answer = await answerTo(talk.messages, ask, {}, part => process.stdout.write(part));
    } catch (error) {
      talk.undo();
      throw error;
    }
    process.stdout.write('\n');
    talk.add('assistant', answer.text);
    if (process.stderr.isTTY) tell(inWords(answer));
    if (answer.finishReason === 'context')
      tell(
        `${fullContext(answer)}; /undo and /reset make room, and /save keeps the chat for a start with more`,
      );
  };

  prompt();
  for await (const line of lines) {
    const message = reader.push(line);
    if (message) await take(message.text, message.isPlain);
    prompt();
  }
  if (reader.isOpen) await take(reader.end(), false);
  process.off('SIGINT', interrupt);
  if (isTerminal) process.stdout.write('\n');
}

const speeds = ({ promptTokens, keptTokens, tokens, promptSeconds, decodeSeconds }: Answer) => ({
  prefill: rate(promptTokens.length - keptTokens, promptSeconds),
  decode: rate(Math.max(tokens.length - 1, 0), decodeSeconds),
});

function inWords(answer: Answer): string {
  const [prefill, decode] = Object.values(speeds(answer)).map(n => Number(n.toPrecision(3)));
  const { promptTokens, keptTokens, tokens, finishReason } = answer;
  const fed = `${promptTokens.length - keptTokens} of ${promptTokens.length} tokens read, ${prefill}/s`;
  return `${fed}; ${tokens.length} written, ${decode}/s (${finishReason})`;
}

/** With --json. */
async function answerLines(ask: Ask, system: string | undefined, about: object): Promise<void> {
  const messages: ChatMessage[] = system ? [{ role: 'system', content: system }] : [];
  let isOver = false;
  const interrupt = () => {
    isOver = true;
    running?.abort();
    lines.close();
  };
  const answer = async (): Promise<void> => {
    const { text, tokens, finishReason, logitsHash, answerHash, promptTokens, keptTokens, ...seconds } =
      await answerTo(messages, ask, { hashLogits: true }, () => {});
    messages.push({ role: 'assistant', content: text });
    printJson({
      ...{ content: text, tokens: [...tokens], finishReason, logitsHash, answerHash },
      ...{ promptTokens: promptTokens.length, keptTokens, ...about },
      tokensPerSecond: speeds({
        text,
        tokens,
        finishReason,
        promptTokens,
        keptTokens,
        answerHash,
        ...seconds,
      }),
    });
    if (finishReason === 'aborted') process.exitCode = 130;
  };
  const lines = createInterface({ input: process.stdin });
  process.on('SIGINT', interrupt);
  process.stdout.once('error', interrupt);
  let number = 0;
  let whole: string[] | undefined;
  for await (const line of lines) {
    number++;
    if (isOver) break;
    if (whole) whole.push(line);
    else if (messages.length === (system ? 1 : 0) && line.trimStart().startsWith('[')) whole = [line];
    else if (line.trim() !== '') {
      const message = messageOf(line, `standard input, line ${number}`);
      messages.push(message);
      if (!/^(?:system|assistant)$/.test(message.role)) await answer();
    }
  }
  if (whole && !isOver) {
    messages.push(
      ...usage(() => checkMessages(parseJsonText(whole.join('\n'), 'standard input'), 'standard input')),
    );
    await answer();
  }
  process.off('SIGINT', interrupt);
  if (number === 0 && !isOver) throw new UsageError('standard input: expected messages; got nothing');
}

const messageOf = (line: string, where: string): ChatMessage =>
  usage(() => {
    const value = parseJsonText(line, where);
    return checkMessage(typeof value === 'string' ? { role: 'user', content: value } : value, where);
  });
