/**
 * What a report is made of: what `quamba eval --json` and `quamba ablate --json` print, joined. Everything may be absent, and what
 * is absent is not shown.
 */
import { isObject, show } from '../../formats/json.ts';
import type { Ablation } from '../ablation.ts';
import type { RecipeFigures } from '../partial.ts';
import type { TaskFigures } from '../tasks.ts';

/** A row of `quamba eval --json`. */
export interface ResultRow extends Partial<Omit<RecipeFigures, 'recipe' | 'tasks'>> {
  readonly recipe: string;
  readonly tasks?: Readonly<Record<string, Partial<TaskFigures> & Pick<TaskFigures, 'acc'>>>;
}

export interface Results {
  readonly model?: string;
  readonly backend?: string;
  readonly text?: string;
  readonly calibrationText?: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly results?: readonly ResultRow[];
  readonly ablation?: Ablation;
}

/**
 * Joins what several runs printed: rows of one recipe become one row, parts of ablations one ablation; of what two say, the later
 * holds.
 *
 * @throws TypeError for what is no object, or names neither results nor an ablation; RangeError for results of different models.
 */
export function joinResults(parts: readonly unknown[], names: readonly string[] = []): Results {
  let joined: Results = {};
  for (const [i, part] of parts.entries()) {
    const where = names[i] ?? 'results';
    if (!isObject(part) || (!Array.isArray(part.results) && !isObject(part.ablation)))
      throw new TypeError(
        `${where}: expected what quamba eval --json or quamba ablate --json prints; got ${show(part).slice(0, 60)}`,
      );
    const { text } = part;
    const next = { ...part, ...(isObject(text) && { text: `${text.name}` }) } as Results;
    if (joined.model && next.model && joined.model !== next.model)
      throw new RangeError(`${where}: is of model ${next.model}; the results before are of ${joined.model}`);
    for (const row of next.results ?? [])
      if (!isObject(row) || typeof row.recipe !== 'string')
        throw new TypeError(`${where}: results expected rows with a recipe; got ${show(row).slice(0, 60)}`);
    const both = { ...joined, ...next };
    joined = {
      ...both,
      ...(both.results && { results: joinRows([...(joined.results ?? []), ...(next.results ?? [])]) }),
      ...(both.ablation && { ablation: { ...joined.ablation, ...next.ablation } }),
    };
  }
  return joined;
}

function joinRows(rows: readonly ResultRow[]): readonly ResultRow[] {
  const byRecipe = new Map<string, ResultRow>();
  for (const row of rows) {
    const before = byRecipe.get(row.recipe);
    const tasks = (before?.tasks || row.tasks) && { tasks: { ...before?.tasks, ...row.tasks } };
    byRecipe.set(row.recipe, { ...before, ...row, ...tasks });
  }
  return [...byRecipe.values()];
}

/** The row that all others are compared with: the one whose KL to the float model is 0, else the first. */
export const floatRow = (rows: readonly ResultRow[]): ResultRow | undefined =>
  rows.find(({ kl }) => kl === 0) ?? rows[0];

/** The perplexity of a row / that of the float model's row − 1. */
export const changeFrom = (float: ResultRow | undefined, { perplexity }: ResultRow): number | undefined =>
  float?.perplexity === undefined || perplexity === undefined ? undefined : perplexity / float.perplexity - 1;
