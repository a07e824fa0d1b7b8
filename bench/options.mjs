/** The options of the programs in this folder: as those of quamba, and lists with commas. */
import { Command, InvalidArgumentError } from 'commander';
import { jsonOption } from '../dist/cli/options.js';

/** A program that has --json, and ends with exit code 2 where it is used wrongly. `examples`: options that may be given to it. */
export const program = (path, description, examples) =>
  new Command(`node bench/${path}`)
    .description(description)
    .addOption(jsonOption)
    .addHelpText(
      'after',
      ['\nExamples:', ...examples.map(given => `  node bench/${path} ${given}`.trimEnd())].join('\n'),
    )
    .showHelpAfterError('(--help shows the options)')
    .exitOverride(({ exitCode }) => process.exit(exitCode && 2));

/** Reads a list with commas, each part by `read`. */
export const listOf = read => text => text.split(',').map(read);

/** Reads one of these names. */
export const oneOf = known => name => {
  if (known.includes(name)) return name;
  throw new InvalidArgumentError(`expected of ${known.join(', ')}; got '${name}'`);
};
