/** What `quamba chat` holds while it runs: messages, forks of them, and the commands that change them. */
import { readFile, writeFileAtomic } from '../formats/disk.ts';
import { parseJson, plain } from '../formats/json.ts';
import { didYouMean } from '../formats/nearest.ts';
import { type ChatMessage, checkMessages } from '../open/chat.ts';

export interface Conversation {
  /** Of the fork that goes on. */
  readonly name: string;
  readonly messages: readonly ChatMessage[];
  add(role: 'user' | 'assistant', content: string): void;
  /** Takes back what came from the last message of the user on, and says whether there was one. */
  undo(): boolean;
  /**
   * Does what a line such as `/save chat.json` says.
   *
   * @returns lines for the user to read
   * @throws Error in one sentence where there is no such command, or it fails.
   */
  command(line: string): Promise<readonly string[]>;
}

interface Command {
  readonly takes?: string;
  readonly says: string;
  run(given: string): readonly string[] | Promise<readonly string[]>;
}

export function conversation(system?: string): Conversation {
  const forks = new Map<string, ChatMessage[]>();
  let name = 'main';
  const now = (): ChatMessage[] => forks.get(name)!;
  const set = (messages: readonly ChatMessage[]) => void forks.set(name, [...messages]);
  const opening = (): ChatMessage[] => now().filter(({ role }, i) => i === 0 && role === 'system');
  const withSystem = (text: string | undefined, rest: readonly ChatMessage[]): ChatMessage[] =>
    text ? [{ role: 'system', content: text }, ...rest] : [...rest];
  set(withSystem(system, []));

  const undo = (): boolean => {
    const last = now().findLastIndex(({ role }) => role === 'user');
    if (last >= 0) set(now().slice(0, last));
    return last >= 0;
  };
  const size = () => `${now().length} messages`;

  const commands: Readonly<Record<string, Command>> = {
    help: { says: 'what there is', run: () => help(commands) },
    system: {
      takes: 'TEXT',
      says: 'what the model is told first; without a text nothing. The chat is read anew from there',
      run(text) {
        set(withSystem(text, now().slice(opening().length)));
        return [text ? 'the model is told so' : 'the model is told nothing first'];
      },
    },
    save: {
      takes: 'FILE',
      says: 'writes the messages as JSON, which /load and --json take',
      async run(file) {
        if (now().length === 0) throw new Error('/save: there are no messages yet');
        const text = `${JSON.stringify(now(), undefined, 2)}\n`;
        await writeFileAtomic(file, [new TextEncoder().encode(text)]);
        return [`${file}: ${size()}`];
      },
    },
    load: {
      takes: 'FILE',
      says: 'goes on from the messages of a file',
      run(file) {
        set(checkMessages(parseJson(readFile(file), file), file));
        return [`${file}: ${size()}`];
      },
    },
    fork: {
      takes: 'NAME',
      says: 'goes on in a copy of this name; this chat stays as it is',
      run(other) {
        if (forks.has(other))
          throw new Error(`/fork: ${plain(other)} is there already; /go ${plain(other)} goes there`);
        forks.set(other, [...now()]);
        name = other;
        return forksInWords();
      },
    },
    go: {
      takes: 'NAME',
      says: 'goes to another fork; the first is called main',
      run(other) {
        if (!forks.has(other))
          throw new Error(`/go: expected ${[...forks.keys()].join(' or ')}; got ${plain(other)}`);
        name = other;
        return forksInWords();
      },
    },
    undo: {
      says: 'takes back your last message and its answer',
      run: () => [undo() ? size() : 'there is nothing to take back'],
    },
    reset: {
      says: 'forgets all messages but /system',
      run() {
        set(opening());
        return [size()];
      },
    },
  };
  const forksInWords = () =>
    [...forks].map(([each, { length }]) => `${each === name ? '* ' : '  '}${each}: ${length} messages`);

  return {
    get name() {
      return name;
    },
    get messages() {
      return now();
    },
    add: (role, content) => set([...now(), { role, content }]),
    undo,
    async command(line) {
      const [, word, given] = /^\/(\S*)\s*(.*)$/s.exec(line.trim())!;
      const command = Object.hasOwn(commands, word) ? commands[word] : undefined;
      if (!command)
        throw new Error(
          `/${plain(word)}: there is no such command${didYouMean(word, Object.keys(commands))}; /help lists them, and """ begins a message with any text`,
        );
      if (given === '' && command.takes && command !== commands.system)
        throw new Error(`/${word}: expected ${command.takes}`);
      if (given !== '' && !command.takes)
        throw new Error(`/${word}: expected nothing after it; got ${plain(given)}`);
      return command.run(given);
    },
  };
}

const help = (commands: Readonly<Record<string, Command>>): readonly string[] => [
  ...Object.entries(commands).map(
    ([word, { takes = '', says }]) => `${`/${word} ${takes}`.padEnd(14)} ${says}`,
  ),
  'A line that ends with \\ goes on in the next. """ begins a message of several lines, and """ ends it.',
  'Ctrl-C stops an answer, and what was written stays; at the prompt it drops what is typed, or leaves where nothing is, as Ctrl-D does.',
];

/** Makes messages of lines: one of each, of several that end with a backslash, or of all between two `"""`. */
export function lineReader() {
  let held: string[] = [];
  let isBlock = false;
  const take = (): string => {
    const text = held.join('\n');
    [held, isBlock] = [[], false];
    return text;
  };
  return {
    /** Whether a message has begun and not ended. */
    get isOpen() {
      return isBlock || held.length > 0;
    },
    /** The message that ends with this line. `isPlain`: it is one line as it was typed, which may be a command. */
    push(line: string): { readonly text: string; readonly isPlain: boolean } | undefined {
      const isPlain = !isBlock && held.length === 0;
      const begins = isPlain && line.startsWith('"""');
      isBlock ||= begins;
      const rest = begins ? line.slice(3) : line;
      const ends = isBlock ? rest.endsWith('"""') : !rest.endsWith('\\');
      const part = isBlock ? rest.replace(/"""$/, '') : rest.replace(/\\$/, '');
      if (part !== '' || !(begins || (isBlock && ends))) held.push(part); // what stands alone beside """ is no line
      return ends ? { text: take(), isPlain: isPlain && !begins } : undefined;
    },
    /** What was begun when the input ended. */
    end: (): string => take(),
  };
}
