/** `quamba eval merge`: the figures of a sharded run. Every digit is the same as without shards. */
import { Command } from 'commander';
import { merge, reportOf } from '../eval/partial.ts';
import { readPartial } from './eval-inputs.ts';
import { tables } from './eval-table.ts';
import { jsonOption, print, printJson } from './terminal.ts';

export const mergeCommand = () =>
  new Command('merge')
    .description(
      'Joins what the shards of one run wrote with --out. All of them must be there, once and finished; medians of tokens per second are over all of them.',
    )
    .argument('<files...>', 'the partial results, in any order')
    .addOption(jsonOption())
    .action((files: string[], { json = false }: { json?: boolean }) => {
      const whole = reportOf(merge(files.map(readPartial), files));
      if (json) printJson(whole);
      else print(tables(whole));
    });
