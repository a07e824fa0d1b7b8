/** `quamba report`: makes a page and plots from the results of other runs; the options and files of all commands that can. */
import { join } from 'node:path';
import { reportPage } from '../eval/report/page.ts';
import { svgFiles } from '../eval/report/plots.ts';
import { joinResults, type Results } from '../eval/report/results.ts';
import { makeFolder, writeFileAtomic } from '../formats/disk.ts';
import { parseJson } from '../formats/json.ts';
import { command, type OptionsOf } from './command.ts';
import { jsonOption, outFile, outFolder } from './options.ts';
import { printAs, readGiven, UsageError } from './terminal.ts';

export const reportOptions = [
  outFile('--html <file>', 'write a page with tables and plots'),
  outFolder('--svg <dir>', 'write each plot as an SVG file into this folder'),
] as const;
type ReportOptions = OptionsOf<typeof reportOptions>;

export const reportCommand = command(
  'report',
  'Draws what quamba eval and quamba ablate measured: one page with tables, or a file for each plot.',
  [...reportOptions, jsonOption],
  `
Examples:
  quamba report eval.json ablation.json --html report.html
  quamba report ablation.json --svg plots`,
)
  .argument('<files...>', 'what quamba eval --json or quamba ablate --json printed; later files win')
  .action(report);

async function report(
  files: readonly string[],
  options: ReportOptions & { readonly json?: boolean },
): Promise<void> {
  if (options.html === undefined && options.svg === undefined)
    throw new UsageError('report: give --html FILE, --svg DIR, or both');
  const parts = files.map(file => parseJson(readGiven(file), file));
  const written = await writeReport(options, joinResults(parts, files));
  printAs(options.json, { files: written }, () => written.join('\n'));
}

/** Writes what was asked for, and returns the names of the files. */
export async function writeReport(
  { html, svg }: ReportOptions,
  results: Results,
): Promise<readonly string[]> {
  const files =
    svg === undefined ? [] : svgFiles(results).map(([name, text]) => [join(svg, name), text] as const);
  if (svg !== undefined) makeFolder(svg);
  const all = html === undefined ? files : [...files, [html, reportPage(results)] as const];
  for (const [path, text] of all) await writeFileAtomic(path, [new TextEncoder().encode(text)]);
  return all.map(([path]) => path);
}
