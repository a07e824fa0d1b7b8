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
import { capitalize, strip } from './python-text.ts';

export const taskNames = ['lambada', 'hellaswag', 'piqa', 'arc_easy', 'arc_challenge', 'winogrande'] as const;
export type TaskName = (typeof taskNames)[number];

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

export function lambada(text: string): Item {
  const cut = text.lastIndexOf(' ');
  const context = text.slice(0, Math.max(cut, 0));
  return { choices: [{ context, continuation: ` ${text.slice(cut + 1)}` }], gold: 0 };
}

export const hellaswag = (
  activity: string,
  ctx_a: string,
  ctx_b: string,
  endings: readonly string[],
  gold: number,
): Item => asked(tidy(`${activity}: ${ctx_a} ${capitalize(ctx_b)}`), endings.map(tidy), gold);

/** piqa and both arcs. */
export const question = (says: string, choices: readonly string[], gold: number): Item =>
  asked(`Question: ${says}\nAnswer:`, choices, gold);

/** The option is part of the context, and the text after the blank is scored (partial evaluation). */
export function winogrande(sentence: string, options: readonly string[], gold: number): Item {
  const blank = sentence.indexOf('_');
  const continuation = ` ${strip(sentence.slice(blank + 1))}`;
  const before = sentence.slice(0, blank);
  return { choices: options.map(option => ({ context: before + option, continuation })), gold };
}

const asked = (context: string, choices: readonly string[], gold: number): Item => ({
  choices: choices.map(text => ({ context, continuation: ` ${text}`, length: [...text].length })),
  gold,
});

/** Removes what lm-eval removes from HellaSwag's texts: the marks of WikiHow in brackets. A mark ends in its own line. */
const tidy = (text: string): string =>
  strip(text)
    .replaceAll(' [title]', '. ')
    .replace(/\[[^\n]*?\]/g, '')
    .replaceAll('  ', ' ');

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
