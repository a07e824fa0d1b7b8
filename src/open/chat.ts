/** Answers the messages of a chat: what the model's chat template makes of them is the prompt of a completion. */
import { decodeUtf8, type Folder, using } from '../formats/bytes.ts';
import { array, type JsonObject, mostBytes, object, readJson, string, unexpected } from '../formats/json.ts';
import { contentOf, type Tokenizer, textTokens } from '../formats/tokenizer.ts';
import { once } from '../once.ts';
import { type ChatTemplate, chatTemplate } from '../text/chat-template.ts';
import type { Piece } from '../text/generate.ts';
import type { Completed, CompleteOptions, Completions } from './completions.ts';

/** What a template reads of it, beside the role, is the template's own matter: `content`, `tool_calls` … all that is JSON. */
export interface ChatMessage {
  /** Such as `system`, `user`, `assistant`, `tool`. */
  readonly role: string;
  readonly content?: unknown;
  readonly [field: string]: unknown;
}

/** What a template gets beside the messages. */
export interface PromptOptions {
  /** A Jinja template in place of the model's own. */
  readonly template?: string;
  /** Functions that the model may call, as JSON schemas, for the template. */
  readonly tools?: readonly unknown[];
  /** Texts to answer from, for the template. */
  readonly documents?: readonly unknown[];
  /** Other variables of the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What `strftime_now` of the template says. Default: the time of the call. */
  readonly now?: Date;
}

export interface ChatOptions extends CompleteOptions, PromptOptions {}

export type Answer = Completed;

export type Chat = (
  messages: readonly ChatMessage[],
  options?: ChatOptions,
) => AsyncGenerator<Piece, Answer, void>;

export interface Chats {
  readonly chat: Chat;
  /** The tokens that `chat` answers after. */
  promptOf(messages: readonly ChatMessage[], options?: PromptOptions): Int32Array;
}

/**
 * The prompt is what the chat template makes of the messages, with `add_generation_prompt`. It begins with the tokenizer's first token
 * where `add_bos_token` or the post-processor says that texts do, once, whether the template writes it or not (transformers leaves it
 * to the template, llama.cpp does as here). Tokens are drawn as `generate` draws them, and the answer ends as there: at any end token.
 *
 * What was said before is kept, see completions.ts: a turn costs its new tokens, and an edited turn those from the edit on. An answer
 * comes back as text in the next messages. Where its tokens are not those that the tokenizer makes of the text, the kept text before it
 * counts, and the answer is fed once more. So an answer depends on messages and options alone, and equals what `generate` writes after
 * the whole prompt, bit by bit.
 *
 * @throws Error for a model without a template, and with its line for one that fails; TypeError for messages that are none; what
 *   `generate` throws.
 */
export function chats(folder: Folder, tokenizer: () => Tokenizer, complete: Completions['complete']): Chats {
  const templateOf = templates(folder);
  const promptOf: Chats['promptOf'] = (messages, options = {}) => {
    const { template, tools, documents, variables, now } = object(options, 'chat: options') as PromptOptions;
    const text = templateOf(template, tools !== undefined)(
      {
        ...object(jsonOf(variables ?? {}, 'chat: variables'), 'chat: variables'),
        messages: checkMessages(messages, 'chat: messages'),
        tools: listOrNone(tools, 'chat: tools'),
        documents: listOrNone(documents, 'chat: documents'),
        add_generation_prompt: true,
      },
      now,
    );
    return textTokens(tokenizer(), text);
  };
  return {
    promptOf,
    chat(messages, options = {}) {
      const prompt = promptOf(messages, options);
      const { template: _, tools: __, documents: ___, variables: ____, now: _____, ...writing } = options;
      return complete(prompt, writing);
    },
  };
}

/** @throws TypeError for what is no list of messages. What is returned is their JSON, copied. */
export function checkMessages(value: unknown, where: string): readonly ChatMessage[] {
  const messages = array(value, where);
  if (messages.length === 0) unexpected(where, 'at least one message', value);
  return messages.map((message, i) => checkMessage(message, `${where}[${i}]`));
}

export function checkMessage(value: unknown, where: string): ChatMessage {
  const message = object(jsonOf(value, where), `${where}, such as { role: 'user', content: 'Hi' }`);
  string(message.role, `${where}.role`);
  return message as ChatMessage;
}

/** Python's None, for which templates ask, stands for what is not given. */
const listOrNone = (value: unknown, where: string) =>
  value === undefined ? null : array(jsonOf(value, where), where);

/** All that a template gets is plain data. */
function jsonOf(value: unknown, where: string): unknown {
  try {
    return JSON.parse(JSON.stringify(value));
  } catch {
    return unexpected(where, 'what JSON can say', value);
  }
}

const TEMPLATE_FILE = 'chat_template.jinja';
const TOKENS_FILES = ['special_tokens_map.json', 'tokenizer_config.json'];
const TOKENS = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map(name => `${name}_token`);

/** The template of a call. It knows the special tokens of the model by their names. */
function templates(folder: Folder): (given: string | undefined, hasTools: boolean) => ChatTemplate {
  const about = once(() => {
    const parts = TOKENS_FILES.filter(file => folder.list().includes(file)).map(file =>
      object(readJson(folder, file), `${folder.name}/${file}`),
    );
    return Object.assign({}, ...parts) as JsonObject;
  });
  const tokens = once(() => {
    const named = TOKENS.map(name => [name, contentOf(about()[name])] as const);
    return Object.fromEntries(named.filter(([, token]) => typeof token === 'string'));
  });
  let last: { readonly source: string; readonly made: ChatTemplate } | undefined;
  return (given, hasTools) => {
    const [source, where] = sourceOf(folder, about, given, hasTools);
    if (last?.source !== source) last = { source, made: chatTemplate(source, where) };
    const { made } = last;
    return (variables, now) => made({ ...tokens(), ...variables }, now);
  };
}

/** What was given; or a file of its own; or what tokenizer_config.json says, which may be one for tools and one for all else. */
function sourceOf(
  folder: Folder,
  about: () => JsonObject,
  given: string | undefined,
  hasTools: boolean,
): readonly [source: string, where: string] {
  if (given !== undefined) return [string(given, 'chat: template'), 'chat: template'];
  if (folder.list().includes(TEMPLATE_FILE)) {
    const where = `${folder.name}/${TEMPLATE_FILE}`;
    const most = mostBytes(TEMPLATE_FILE);
    const text = using(
      folder,
      TEMPLATE_FILE,
      file => file.size <= most && decodeUtf8(file.read(0, file.size)),
    );
    return typeof text === 'string'
      ? [text, where]
      : unexpected(where, `UTF-8 text of at most ${most} bytes`, 'other bytes');
  }
  const where = `${folder.name}/tokenizer_config.json: chat_template`;
  const { chat_template: said = null } = about();
  if (said === null)
    throw new Error(
      `${folder.name}: has no chat template (${TEMPLATE_FILE}, or chat_template in tokenizer_config.json), so it may be no chat model; ` +
        'the option template, or --template FILE on the command line, gives one',
    );
  if (!Array.isArray(said)) return [string(said, where), where];
  const listed = said.map((each, i) => object(each, `${where}[${i}]`));
  const names = hasTools ? ['tool_use', 'default'] : ['default'];
  const [name] = names.filter(each => listed.some(entry => entry.name === each));
  if (name === undefined) throw new Error(`${where}: has no template named default`);
  return [
    string(listed.find(entry => entry.name === name)!.template, `${where} ${name}`),
    `${where} ${name}`,
  ];
}
