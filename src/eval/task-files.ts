/**
 * Files of task items, in the forms in which they are found:
 *
 *   Hugging Face   JSON lines (or one array) with the data set's field names
 *   the makers'    AI2's ARC ({ question: { stem, choices } }), PIQA with its labels in a file of their own, lines of HellaSwag
 *   LLM-Adapters   one array of { instruction, answer }: ARC, PIQA, WinoGrande
 *   llama.cpp      HellaSwag as text, six lines an item: context, label, four endings
 */
import {
  array,
  isObject,
  type JsonObject,
  object,
  parseJsonText,
  show,
  unexpected,
} from '../formats/json.ts';
import { rstrip, strip } from './python-text.ts';
import { hellaswag, type Item, lambada, question, type TaskName, winogrande } from './tasks.ts';

export interface TaskFile {
  /** How errors call it. */
  readonly name: string;
  readonly text: string;
  /** PIQA's labels, a line each, where the items have none. */
  readonly labels?: string;
}

/** @throws Error naming the file, the item and the field that is wrong. */
export function readItems(task: TaskName, file: TaskFile): Item[] {
  const rows = /^\s*[[{]/.test(file.text) ? jsonRows(file) : sixLines(task, file);
  if (rows.length === 0) throw new Error(`${file.name}: expected items of ${task}; got none`);
  const labels = file.labels?.trim().split(/\s+/);
  if (labels && labels.length !== rows.length)
    throw new Error(`${file.name}: expected a label for each of ${rows.length} items; got ${labels.length}`);
  return rows.map((row, i) => {
    const labelled = labels && row.label === undefined ? { ...row, label: labels[i] } : row;
    return READ[task](fields(labelled, `${file.name}: item ${i + 1}`));
  });
}

function jsonRows({ name, text }: TaskFile): JsonObject[] {
  const rows = text.trimStart().startsWith('[')
    ? array(parseJsonText(text, name), name)
    : text
        .split('\n')
        .flatMap((line, i) => (line.trim() ? [parseJsonText(line, `${name}: line ${i + 1}`)] : []));
  return rows.map((row, i) => object(row, `${name}: item ${i + 1}`));
}

/** HellaSwag as text. The border between ctx_a and ctx_b is lost there, see `borderOf`. */
function sixLines(task: TaskName, { name, text }: TaskFile): JsonObject[] {
  if (task !== 'hellaswag') throw new Error(`${name}: expected JSON lines or a JSON array; got other text`);
  const lines = rstrip(text).split(/\r?\n/);
  if (lines.length % 6)
    throw new Error(
      `${name}: expected six lines an item (context, label, four endings); got ${lines.length} lines`,
    );
  return Array.from({ length: lines.length / 6 }, (_, i) => {
    const [context, label, ...endings] = lines.slice(6 * i, 6 * i + 6);
    const colon = context.indexOf(': ');
    if (colon < 0)
      throw new Error(`${name}: item ${i + 1} expected 'activity: context'; got ${show(context)}`);
    const [ctx_a, ctx_b] = borderOf(context.slice(colon + 2));
    return { activity_label: context.slice(0, colon), ctx_a, ctx_b, endings, label };
  });
}

/** ctx_b is the beginning of a sentence that the endings complete: what follows the last full sentence, if it is in lower case. */
function borderOf(context: string): [string, string] {
  const [, a, b] = /^(.*[.!?]['")]*) +(\p{Ll}[^.!?]*)$/su.exec(context) ?? [];
  return a === undefined ? [context, ''] : [a, b];
}

/** Readers of the fields of one item. Each checks its field, and names it in the error. */
function fields(row: JsonObject, where: string) {
  const fail = (field: string, expected: string, got: unknown): never =>
    unexpected(`${where}: ${field}`, expected, got);
  return {
    row,
    fail,
    text(field: string, from: JsonObject = row): string {
      const value = from[field];
      return typeof value === 'string' ? value : fail(field, 'a text', value);
    },
    texts(field: string, value: unknown): string[] {
      if (!Array.isArray(value) || value.length < 2 || !value.every(text => typeof text === 'string'))
        return fail(field, 'two or more texts', value);
      return value;
    },
    /** One of `count` choices, from 0, by a number or its digits. */
    choice(field: string, count: number, first = 0): number {
      const value = row[field] === '' ? Number.NaN : Number(row[field]);
      return Number.isInteger(value) && value >= first && value < first + count
        ? value - first
        : fail(field, `a whole number ${first} … ${first + count - 1}`, row[field]);
    },
  };
}
type Fields = ReturnType<typeof fields>;

const READ: { readonly [T in TaskName]: (fields: Fields) => Item } = {
  lambada: ({ text }) => lambada(text('text')),
  hellaswag({ row, text, texts, choice }) {
    const endings = texts('endings', row.endings);
    const [activity, ctx_a, ctx_b] = ['activity_label', 'ctx_a', 'ctx_b'].map(field => text(field));
    return hellaswag(activity, ctx_a, ctx_b, endings, choice('label', endings.length));
  },
  piqa: of =>
    instructed(of) ?? question(of.text('goal'), [of.text('sol1'), of.text('sol2')], of.choice('label', 2)),
  arc_easy: arc,
  arc_challenge: arc,
  winogrande({ row, text, choice, fail }) {
    const told =
      typeof row.instruction === 'string'
        ? (BLANK.exec(row.instruction)?.groups ??
          fail('instruction', "a sentence, 'Option1: …' and 'Option2: …'", row.instruction))
        : undefined;
    const [sentence, ...options] = ['sentence', 'option1', 'option2'].map(field => text(field, told ?? row));
    if (!sentence.includes('_')) fail('sentence', 'a blank (_)', sentence);
    const answer = told ? answerOf(row.answer, 'option', 2, fail) : choice('answer', 2, 1);
    return winogrande(sentence, options, answer);
  },
};

function arc(of: Fields): Item {
  const told = instructed(of);
  if (told) return told;
  const { row, text, texts, fail } = of;
  const makers = isObject(row.question) ? row.question : undefined;
  const listed = makers ? makers.choices : row.choices;
  const column = (key: string) => {
    if (isObject(listed)) return listed[key];
    return Array.isArray(listed) ? listed.map(c => (isObject(c) ? c[key] : c)) : listed;
  };
  const labels = texts('choices.label', column('label'));
  const answer = labels.indexOf(String(row.answerKey));
  return question(
    makers ? text('stem', makers) : text('question'),
    texts('choices.text', column('text')),
    answer < 0 ? fail('answerKey', `one of ${show(labels)}`, row.answerKey) : answer,
  );
}

const BLANK =
  /given sentence: (?<sentence>.*)\n\nOption1: (?<option1>.*) Option2: (?<option2>.*) Answer format/s;

/** The instruction form of LLM-Adapters: a question and its numbered answers (or solutions) in one text. */
function instructed({ row, fail }: Fields): Item | undefined {
  if (typeof row.instruction !== 'string') return undefined;
  const [, says, listed, word] =
    /question: (.*)\n\n((Answer|Solution)1: .*?)\s*(?:Answer|Solution) format:/s.exec(row.instruction) ??
    fail('instruction', "a question and 'Answer1: …'", row.instruction);
  const [, ...choices] = listed.split(new RegExp(`\\b${word}\\d+: `)).map(strip);
  return question(says, choices, answerOf(row.answer, word, choices.length, fail));
}

/** `answer3` → 2. */
function answerOf(value: unknown, word: string, count: number, fail: Fields['fail']): number {
  const [, digits] = new RegExp(`^${word}(\\d+)$`, 'i').exec(String(value)) ?? [];
  const answer = Number(digits) - 1;
  return answer >= 0 && answer < count ? answer : fail('answer', `${word.toLowerCase()}1 … ${count}`, value);
}
