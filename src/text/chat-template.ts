/**
 * Chat templates: the messages of a chat → the text of one prompt, by the Jinja template that a model comes with.
 *
 * Jinja is rendered by `@huggingface/jinja`, with blocks trimmed as transformers trims them. A template comes from a stranger. What
 * reaches it is JSON, and of functions it has `raise_exception`, `range`, `strftime_now` and Jinja's own `namespace`: nothing of the
 * program, its files or the network. It ends, since loops run over lists and steps are counted; it may ask for more memory than
 * there is, which ends the program.
 *
 * Source  transformers `apply_chat_template` (utils/chat_template_utils.py): the variables, and the names of functions
 */
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { plain, show } from '../formats/json.ts';

/** The text that the template makes of these variables; what is undefined stays undefined in it. */
export type ChatTemplate = (variables: Readonly<Record<string, unknown>>, now?: Date) => string;

/** A chat of a thousand messages takes some ten thousand. */
const MOST_STEPS = 1 << 20;
const MOST_RANGE = 1 << 16;

/**
 * @param where how errors call the template
 * @throws Error naming the line of the statement that is wrong; and so does the template when it is rendered.
 */
export function chatTemplate(source: string, where: string): ChatTemplate {
  const tags = tagsOf(source);
  const failed = (error: unknown, tag: number, words = wordsOf(error)): Error => {
    const line = source.slice(0, tags[tag]?.begin).split('\n').length;
    return new Error(`${where}, line ${line}: ${words}`, { cause: error });
  };
  const read = (end?: number): readonly Token[] => tokenize(source.slice(0, end), WHITE_SPACE);
  const firstWrong = () => tags.findIndex(({ end }) => throws(() => read(end)));
  const tokens = trying(read, error => failed(error, firstWrong()));

  // Neither tokens nor nodes know where they stand. So a comment with its number stands before each tag, and no other is left.
  let tag = -1;
  let reached = 0;
  const numbered = tokens
    .filter(({ type }) => type !== 'Comment')
    .flatMap(token => {
      const opens = token.type === 'OpenStatement' || token.type === 'OpenExpression';
      return opens ? [watched({ type: 'Comment', value: `${++tag}` }), watched(token)] : [watched(token)];
    });
  function watched({ type, value }: Token): Token {
    const at = Math.max(tag, 0);
    return {
      value,
      get type() {
        reached = at;
        return type;
      },
    };
  }
  const program = trying(
    () => parse(numbered),
    error =>
      failed(
        error,
        reached,
        error instanceof TypeError ? 'a block or an expression does not end' : undefined,
      ),
  );
  const tagOf = new Map<unknown, number>();
  markTags(program.body, tagOf);

  return (variables, now = new Date()) => {
    const environment = new Environment();
    const functions = {
      raise_exception(message: unknown) {
        throw new Error(String(message));
      },
      range,
      strftime_now: (format: unknown) => strftime(now, String(format)),
    };
    for (const [name, value] of Object.entries({ ...variables, ...CONSTANTS, ...functions }))
      if (value !== undefined) environment.set(name, value);
    const interpreter = new Interpreter(environment);
    const evaluate = interpreter.evaluate.bind(interpreter);
    const at = new Map<unknown, number>();
    let steps = 0;
    interpreter.evaluate = (...[node, scope]: Parameters<Interpreter['evaluate']>) => {
      if (++steps > MOST_STEPS) throw new Error(`takes more than ${MOST_STEPS} steps`);
      try {
        return evaluate(node, scope);
      } catch (error) {
        const tag = tagOf.get(node);
        if (tag !== undefined && !at.has(error)) at.set(error, tag); // of the innermost statement
        throw error;
      }
    };
    return trying(
      () => String(interpreter.run(program).value),
      error => failed(error, at.get(error) ?? 0),
    );
  };
}

const WHITE_SPACE = { trim_blocks: true, lstrip_blocks: true };
const CONSTANTS = { true: true, True: true, false: false, False: false, none: null, None: null };

type Token = ReturnType<typeof tokenize>[number];
/** A block of statements has one of the fields beside its value, or two. */
interface Node {
  readonly type: string;
  readonly value?: unknown;
  readonly body?: readonly Node[];
  /** Of an `if`. */
  readonly alternate?: readonly Node[];
  /** Of a `for`. */
  readonly defaultBlock?: readonly Node[];
}

/** Gives each statement the number of the comment before it. For an `elif` that is the last inside of its `if`. */
function markTags(block: readonly Node[], tagOf: Map<unknown, number>, before = 0): number {
  let tag = before;
  for (const node of block) {
    if (node.type === 'Comment') tag = Number(node.value);
    else {
      tagOf.set(node, tag);
      for (const inner of [node.body, node.alternate, node.defaultBlock])
        tag = markTags(inner ?? [], tagOf, tag);
    }
  }
  return tag;
}

/** Where each `{% … %}` and `{{ … }}` begins and ends, without the `generation` that only training reads. */
function tagsOf(source: string): readonly { readonly begin: number; readonly end: number }[] {
  const outside = /\{#.*?(?:#\}|$)|\{[%{]/gs;
  const inside = /[%}]\}|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'/gs;
  const tags = [];
  for (let open = outside.exec(source); open; open = outside.exec(source)) {
    if (open[0].startsWith('{#')) continue;
    const close = open[0] === '{%' ? '%}' : '}}';
    inside.lastIndex = outside.lastIndex;
    let found = inside.exec(source);
    while (found && found[0] !== close) found = inside.exec(source);
    const [begin, end] = [open.index, found ? inside.lastIndex : source.length];
    outside.lastIndex = end;
    if (!/^\{%-?\s*(?:end)?generation\s*-?%\}$/.test(source.slice(begin, end))) tags.push({ begin, end });
  }
  return tags;
}

function trying<T>(act: () => T, refusal: (error: unknown) => Error): T {
  try {
    return act();
  } catch (error) {
    throw refusal(error);
  }
}

function throws(act: () => unknown): boolean {
  try {
    act();
    return false;
  } catch {
    return true;
  }
}

/** The engine's own words say nothing of a template. */
function wordsOf(error: unknown): string {
  if (error instanceof RangeError) return 'nests, repeats or grows without end';
  if (error instanceof TypeError) return 'uses a value that is not there';
  const { message } = error as Error;
  const words = message.replace(/^Parser Error: (.*)\. \w+ !== \w+\.$/, '$1');
  return plain(words || 'break or continue stands outside of a loop', 400);
}

/** Python's, of at most `MOST_RANGE` numbers. */
function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = typeof second === 'number' ? [first, second] : [0, first];
  const count = Math.max(Math.ceil((stop - start) / step), 0);
  if (!(count <= MOST_RANGE)) throw new Error(`range() expected at most ${MOST_RANGE} numbers; got ${count}`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
);
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Python's in its C locale, so that a prompt is the same on every machine. A `-` leaves out leading zeros. */
function strftime(date: Date, format: string): string {
  const two = (n: number) => `${n}`.padStart(2, '0');
  const codes: Readonly<Record<string, () => string>> = {
    Y: () => `${date.getFullYear()}`,
    y: () => two(date.getFullYear() % 100),
    m: () => two(date.getMonth() + 1),
    d: () => two(date.getDate()),
    H: () => two(date.getHours()),
    I: () => two(date.getHours() % 12 || 12),
    M: () => two(date.getMinutes()),
    S: () => two(date.getSeconds()),
    p: () => (date.getHours() < 12 ? 'AM' : 'PM'),
    B: () => MONTHS[date.getMonth()],
    b: () => MONTHS[date.getMonth()].slice(0, 3),
    A: () => DAYS[date.getDay()],
    a: () => DAYS[date.getDay()].slice(0, 3),
    '%': () => '%',
  };
  return format.replace(/%(-?)(.?)/gs, (_, bare, code) => {
    if (!Object.hasOwn(codes, code)) throw new Error(`strftime_now() does not know ${show(`%${code}`)}`);
    return bare ? codes[code]().replace(/^0+(?=\d)/, '') : codes[code]();
  });
}
