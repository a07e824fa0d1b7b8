/** The options that several commands share. */
import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import { backendNames } from '../backends/node.ts';
import { checkWritable, checkWritableFolder } from '../formats/disk.ts';
import { modelFolder } from '../hub/cache.ts';
import { EMBEDDED_MODEL } from '../open/node.ts';
import { recipes } from '../quant/recipes.ts';
import type { Generated } from '../text/generate.ts';
import { option, refuse } from './command.ts';
import { tell, UsageError } from './terminal.ts';
import {
  fraction,
  fractionOrZero,
  integer,
  nonNegative,
  positive,
  recipeNamed,
  wholeFrom,
} from './values.ts';

export const modelOption = option(
  '--model <dir>',
  'folder of the model (Hugging Face, state-spaces, or made by quamba quantize), or the name of a pulled one',
  path => modelFolder(path),
  EMBEDDED_MODEL,
  'the embedded mamba-books-15m',
);
export const recipeOption = (
  otherwise = 'what the model was quantized by, or quamba where it is ready, or fp32',
) =>
  option(
    '--recipe <name>',
    `${Object.keys(recipes).join(', ')}, or a JSON file`,
    recipeNamed,
    undefined,
    otherwise,
  );
const backendOption = option(
  '--backend <name>',
  'what computes',
  backendNames,
  undefined,
  'wasm, or reference where the engine has no SIMD', // finding out takes compiling, so the help says both
);
/** More threads than processors would only wait for each other. */
function threadsHere(text: string): number {
  const asked = wholeFrom(1)(text);
  const most = availableParallelism();
  if (asked > most) tell(`--threads ${asked}: this machine runs ${most} at once`);
  return Math.min(asked, most);
}
const threadsOption = option(
  '--threads <n>',
  'how many threads share the work, at most as many as there are processors; the bits do not depend on it',
  threadsHere,
  1,
);
/** On what a model runs. */
export const engineOptions = [backendOption, threadsOption] as const;
export const contextOption = option(
  '--context <n>',
  'the most tokens of a text, where states grow with it (attention); a model without such states reads any text and ignores it',
  wholeFrom(1),
  undefined,
  'what the model was made for, at most 8192',
);
/** Of a text whose writing ended at it. */
export const fullContext = ({ promptTokens, tokens }: Generated): string =>
  `the text has all ${promptTokens.length + tokens.length} tokens of its context; --context gives it more`;

/** How a text is written. */
export const writingOptions = (maxTokens: number) =>
  [
    option('--max-tokens <n>', 'how many tokens to write', wholeFrom(0), maxTokens),
    option('--temperature <t>', '0 takes the likeliest token each time', nonNegative, 0.8),
    option('--top-k <k>', 'draw from the k likeliest tokens only', wholeFrom(1)),
    option('--top-p <p>', 'draw from the likeliest tokens that together have probability p', fraction, 0.95),
    option('--min-p <p>', 'leave out tokens below p times the likeliest', fractionOrZero),
    option('--repetition-penalty <r>', 'above 1 makes repetition less likely', positive),
    option('--seed <n>', 'the same seed draws the same text, on every machine', integer, 1),
    option('--stop <text...>', 'stop before this text'),
  ] as const;
/** @throws UsageError for those of them that go together ill. */
export function checkWriting(
  of: Command,
  { temperature, stop }: { temperature?: number; stop?: readonly string[] },
): void {
  if (temperature === 0) refuse(of, ['--top-k', '--top-p', '--min-p'], 'with --temperature 0');
  if (stop?.includes('')) throw new UsageError(`${of.name()}: --stop expected a text; got an empty one`);
}
export const jsonOption = option('--json', 'print one JSON object');

/** An option that names what a command will write. That it can be written is known before anything is loaded. */
const output =
  (check: (path: string) => void) =>
  <const Flags extends string>(flags: Flags, says: string) =>
    option(flags, says, path => {
      if (path === '') throw new InvalidArgumentError('expected a path; got an empty one');
      check(path);
      return path;
    });
export const outFile = output(path => checkWritable(path));
export const outFolder = output(checkWritableFolder);
