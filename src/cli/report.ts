/** `quamba report`: makes a page and plots from the results of other runs. */
import { Command } from 'commander';
import { joinResults } from '../eval/report/results.ts';
import { parseJson } from '../formats/json.ts';
import { type ReportOptions, reportOptions, writeReport } from './report-files.ts';
import { jsonOption, print, printJson, readGiven, UsageError } from './terminal.ts';

export const reportCommand = () => {
  const command = new Command('report')
    .description(
      'Draws what quamba eval and quamba ablate measured: one page with tables, or a file for each plot.',
    )
    .argument('<files...>', 'what quamba eval --json or quamba ablate --json printed; later files win');
  for (const option of reportOptions()) command.addOption(option);
  return command
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  quamba report eval.json ablation.json --html report.html
  quamba report ablation.json --svg plots`,
    )
    .action(report);
};

function report(files: readonly string[], options: ReportOptions & { readonly json?: boolean }): void {
  if (options.html === undefined && options.svg === undefined)
    throw new UsageError('report: give --html FILE, --svg DIR, or both');
  const parts = files.map(file => parseJson(readGiven(file), file));
  const written = writeReport(options, joinResults(parts, files));
  if (options.json) printJson({ files: written });
  else print(written.join('\n'));
}
