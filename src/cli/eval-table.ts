/** The table that `quamba eval` prints. */
import type { EvaluationFigures, RecipeFigures } from '../eval/partial.ts';
import { sizeWords } from '../eval/report/words.ts';
import type { TaskName } from '../eval/tasks.ts';
import { align } from '../plan/render.ts';

type Column = readonly [head: string, cell: (result: RecipeFigures) => string | undefined];

/** A row for each recipe; columns that none has are left out. */
export function table({ results }: EvaluationFigures): string {
  const [{ recipe: first, nats: base }] = results;
  const taskNames = Object.keys(results[0].tasks ?? {}) as TaskName[];
  const change = (nats: number) => 100 * (Math.exp(nats - base!) - 1);
  const columns: Column[] = [
    ['recipe', ({ recipe }) => recipe],
    ['nats/token', ({ nats }) => nats?.toFixed(4)],
    ['perplexity', ({ perplexity }) => perplexity?.toFixed(3)],
    [
      `against ${first}`,
      ({ nats }) => (nats === undefined ? nats : `${nats >= base! ? '+' : ''}${change(nats).toFixed(2)} %`),
    ],
    ['KL to fp32', ({ kl }) => kl?.toFixed(5)],
    ['same top token', ({ top1 }) => (top1 === undefined ? top1 : percent(top1))],
    ...taskNames.flatMap((task): Column[] => [
      [`${task} acc`, ({ tasks }) => accuracy(tasks?.[task]?.acc, tasks?.[task]?.stderr)],
      ['acc_norm', ({ tasks }) => accuracy(tasks?.[task]?.acc_norm, tasks?.[task]?.acc_norm_stderr)],
    ]),
    ['in memory', result => sizeWords(result.bytes)],
    ['state', result => sizeWords(result.stateBytes)],
    ['prefill/s', ({ prefill }) => prefill?.toFixed(0)],
    ['decode/s', ({ decode }) => decode?.toFixed(0)],
  ];
  return align([
    columns.map(([head]) => head),
    ...results.map(row => columns.map(([, cell]) => cell(row) ?? '')),
  ]);
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

const accuracy = (share: number | null | undefined, error: number | null | undefined): string | undefined =>
  typeof share === 'number'
    ? `${percent(share)}${typeof error === 'number' ? ` ± ${(100 * error).toFixed(2)}` : ''}`
    : undefined;
