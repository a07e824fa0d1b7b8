/**
 * The six zero-shot tasks of the paper: how an item becomes texts, and what counts as right. Prompts and scoring are those
 * of lm-eval 0.4.2 (EleutherAI/lm-evaluation-harness, tasks lambada_openai, hellaswag, piqa, arc_easy, arc_challenge,
 * winogrande), restated; docs/eval.md has them as a table.
 *
 *   acc       the choice with the largest log-likelihood is the right one; for lambada: greedy decoding writes the last word
 *   acc_norm  the same with each log-likelihood divided by the choice's length in characters
 *   stderr    √(acc (1 − acc) / (n − 1)), the standard error of a mean of n zeros and ones
 *
 * The first of equal choices wins, as numpy's argmax has it.
 */
import type { Likelihood } from './likelihood.ts';

/** The items of the data sets, with the field names of the Hugging Face data sets. */
export interface Records {
  lambada: { readonly text: string };
  hellaswag: {
    readonly activity_label: string;
    readonly ctx_a: string;
    readonly ctx_b: string;
    readonly endings: readonly string[];
    readonly label: number;
  };
  piqa: { readonly goal: string; readonly sol1: string; readonly sol2: string; readonly label: number };
  arc: { readonly question: string; readonly choices: readonly string[]; readonly answer: number };
  winogrande: {
    readonly sentence: string;
    readonly option1: string;
    readonly option2: string;
    readonly answer: 1 | 2;
  };
}
export type RecordName = keyof Records;

export interface Choice {
  readonly context: string;
  readonly continuation: string;
  /** Characters (code points) that acc_norm divides by. */
  readonly length?: number;
}
export interface Item {
  readonly choices: readonly Choice[];
  /** The right choice, from 0. */
  readonly gold: number;
}

interface Task<R extends RecordName = RecordName> {
  readonly record: R;
  readonly item: (record: Records[R]) => Item;
  /** The figure that the paper's tables show. */
  readonly headline: 'acc' | 'acc_norm';
}
const task = <R extends RecordName>(
  record: R,
  headline: Task['headline'],
  item: (record: Records[R]) => Item,
): Task => ({ record, headline, item }) as unknown as Task;

const arc = ({ question, choices, answer }: Records['arc']): Item =>
  asked(`Question: ${question}\nAnswer:`, choices, answer);

export const tasks = {
  lambada: task('lambada', 'acc', ({ text }) => {
    const cut = text.lastIndexOf(' ');
    return {
      choices: [{ context: text.slice(0, Math.max(cut, 0)), continuation: ` ${text.slice(cut + 1)}` }],
      gold: 0,
    };
  }),
  hellaswag: task('hellaswag', 'acc_norm', ({ activity_label, ctx_a, ctx_b, endings, label }) =>
    asked(tidy(`${activity_label}: ${ctx_a} ${capitalized(ctx_b)}`), endings.map(tidy), label),
  ),
  piqa: task('piqa', 'acc', ({ goal, sol1, sol2, label }) =>
    asked(`Question: ${goal}\nAnswer:`, [sol1, sol2], label),
  ),
  arc_easy: task('arc', 'acc', arc),
  arc_challenge: task('arc', 'acc_norm', arc),
  // the option is part of the context, and the text after the blank is scored (partial evaluation)
  winogrande: task('winogrande', 'acc', ({ sentence, option1, option2, answer }) => {
    const blank = sentence.indexOf('_');
    const continuation = ` ${sentence.slice(blank + 1).trim()}`;
    const before = sentence.slice(0, blank);
    const choices = [option1, option2].map(option => ({ context: before + option, continuation }));
    return { choices, gold: answer - 1 };
  }),
} satisfies Record<string, Task>;

export type TaskName = keyof typeof tasks;
export const taskNames = Object.keys(tasks) as TaskName[];

const asked = (context: string, choices: readonly string[], gold: number): Item => ({
  choices: choices.map(text => ({ context, continuation: ` ${text}`, length: [...text].length })),
  gold,
});

/** Removes what lm-eval removes from HellaSwag's texts: the marks of WikiHow in brackets. */
const tidy = (text: string): string =>
  text
    .trim()
    .replaceAll(' [title]', '. ')
    .replace(/\[.*?\]/g, '')
    .replaceAll('  ', ' ');

/** Python's str.capitalize: the rest becomes lower case. */
const capitalized = (text: string): string => {
  const [first = '', ...rest] = text;
  return first.toUpperCase() + rest.join('').toLowerCase();
};

/** What one item scored. */
export interface ItemScore {
  /** Which item of the data, from 0. */
  readonly index: number;
  /** log p of each choice, nats. */
  readonly lls: readonly number[];
  readonly acc: 0 | 1;
  /** Only of tasks whose choices have lengths. */
  readonly acc_norm?: 0 | 1;
}

export function scoreItem(index: number, { choices, gold }: Item, found: readonly Likelihood[]): ItemScore {
  const lls = found.map(({ ll }) => ll);
  const right = (scores: readonly number[]): 0 | 1 => (argmax(scores) === gold ? 1 : 0);
  if (choices.length === 1) return { index, lls, acc: found[0].greedy ? 1 : 0 };
  if (choices[0].length === undefined) return { index, lls, acc: right(lls) };
  return { index, lls, acc: right(lls), acc_norm: right(lls.map((ll, i) => ll / choices[i].length!)) };
}

const argmax = (values: readonly number[]): number => values.indexOf(Math.max(...values));

export interface TaskFigures {
  readonly n: number;
  readonly acc: number;
  /** Of acc. Null for one item. */
  readonly stderr: number | null;
  /** Null where lm-eval has none: lambada, winogrande. */
  readonly acc_norm: number | null;
  readonly acc_norm_stderr: number | null;
  /** lambada: e^−(mean log-likelihood of a last word). */
  readonly perplexity?: number;
}

/** The figures of items, which may come in any order. */
export function taskFigures(scores: readonly ItemScore[]): TaskFigures {
  const inOrder = scores.toSorted((a, b) => a.index - b.index);
  const n = inOrder.length;
  const mean = (of: (score: ItemScore) => number) => inOrder.reduce((sum, score) => sum + of(score), 0) / n;
  const error = (p: number) => (n < 2 ? null : Math.sqrt((p * (1 - p)) / (n - 1)));
  const acc = mean(score => score.acc);
  const normed = inOrder.every(score => score.acc_norm !== undefined);
  const acc_norm = normed ? mean(score => score.acc_norm!) : null;
  const single = inOrder.every(({ lls }) => lls.length === 1);
  return {
    n,
    acc,
    stderr: error(acc),
    acc_norm,
    acc_norm_stderr: acc_norm === null ? null : error(acc_norm),
    ...(single && { perplexity: Math.exp(-mean(({ lls: [ll] }) => ll)) }),
  };
}
