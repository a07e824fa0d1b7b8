/**
 * What a report is made of: what `quamba eval --json` and `quamba ablate --json` print, joined. Everything may be absent, and what
 * is absent is not shown.
 */
import { isObject, show } from '../../formats/json.ts';
import { groupBy } from '../../group-by.ts';
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
  readonly architecture?: string;
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

const joinRows = (rows: readonly ResultRow[]): readonly ResultRow[] =>
  [...groupBy(rows, ({ recipe }) => recipe).values()].map(same => {
    const scores = same.some(({ tasks }) => tasks) && Object.assign({}, ...same.map(({ tasks }) => tasks));
    return Object.assign({}, ...same, scores && { tasks: scores });
  });

/** The row that all others are compared with: the one whose KL to the float model is 0, else the first. */
export const floatRow = (rows: readonly ResultRow[]): ResultRow | undefined =>
  rows.find(({ kl }) => kl === 0) ?? rows[0];

/** The perplexity of a row / that of the float model's row − 1. */
export const changeFrom = (float: ResultRow | undefined, { perplexity }: ResultRow): number | undefined =>
  float?.perplexity === undefined || perplexity === undefined ? undefined : perplexity / float.perplexity - 1;
