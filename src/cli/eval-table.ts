/** The tables that `quamba eval` prints. */
import type { EvaluationFigures } from '../eval/partial.ts';
import { resultsTable, tasksTable } from '../eval/report/tables.ts';
import { align } from '../plan/render.ts';

export const tables = ({ results }: EvaluationFigures): string =>
  [resultsTable(results), tasksTable(results)]
    .filter(({ length }) => length > 1)
    .map(align)
    .join('\n\n');
