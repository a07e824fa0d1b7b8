/** The options --html and --svg of every command that measures, and what they write. */
import { join } from 'node:path';
import { Option } from 'commander';
import { reportPage } from '../eval/report/page.ts';
import { svgFiles } from '../eval/report/plots.ts';
import type { Results } from '../eval/report/results.ts';
import { writeFileAtomic } from '../formats/disk.ts';
import { makeFolder } from './terminal.ts';

export interface ReportOptions {
  readonly html?: string;
  readonly svg?: string;
}

export const reportOptions = (): Option[] => [
  new Option('--html <file>', 'write a page with tables and plots'),
  new Option('--svg <dir>', 'write each plot as an SVG file into this folder'),
];

/** Writes what was asked for, and returns the names of the files. */
export function writeReport({ html, svg }: ReportOptions, results: Results): readonly string[] {
  const files =
    svg === undefined ? [] : svgFiles(results).map(([name, text]) => [join(svg, name), text] as const);
  if (svg !== undefined) makeFolder(svg, '--svg');
  const all = html === undefined ? files : [...files, [html, reportPage(results)] as const];
  for (const [path, text] of all) writeFileAtomic(path, [new TextEncoder().encode(text)]);
  return all.map(([path]) => path);
}
