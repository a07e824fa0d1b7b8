/** The options that several commands share. */
import { availableParallelism } from 'node:os';
import { InvalidArgumentError } from 'commander';
import { backendNames } from '../backends/node.ts';
import { checkWritable, checkWritableFolder } from '../formats/disk.ts';
import { modelFolder } from '../hub/cache.ts';
import { EMBEDDED_MODEL } from '../open/node.ts';
import { recipes } from '../quant/recipes.ts';
import { option } from './command.ts';
import { tell } from './terminal.ts';
import { recipeNamed, wholeFrom } from './values.ts';

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
