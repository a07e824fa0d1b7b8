#!/usr/bin/env node
/** The command line. Exit code 0; 1 when something failed; 2 for wrong usage. */
import { CommanderError } from 'commander';
import { ablateCommand } from './ablate.ts';
import { benchCommand } from './bench.ts';
import { command } from './command.ts';
import { conformCommand } from './conform.ts';
import { doctorCommand } from './doctor.ts';
import { evalCommand } from './eval.ts';
import { exportCommand } from './export.ts';
import { generateCommand } from './generate.ts';
import { inspectCommand } from './inspect.ts';
import { pullCommand } from './pull.ts';
import { quantizeCommand } from './quantize.ts';
import { reportCommand } from './report.ts';
import { outliveStreams, tell, UsageError } from './terminal.ts';
import { version } from './version.ts';

const program = command(
  'quamba',
  'Quantized inference of Mamba, with the same bits everywhere.',
  [],
  '\nStart with:\n  quamba generate --prompt "The old man looked out of the window and saw"',
)
  .version(version)
  .enablePositionalOptions() // options after `eval merge` belong to merge
  .addCommand(generateCommand)
  .addCommand(quantizeCommand)
  .addCommand(inspectCommand)
  .addCommand(evalCommand)
  .addCommand(ablateCommand)
  .addCommand(reportCommand)
  .addCommand(doctorCommand)
  .addCommand(benchCommand)
  .addCommand(conformCommand)
  .addCommand(exportCommand)
  .addCommand(pullCommand);

outliveStreams();
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    tell(`quamba: ${error instanceof Error ? error.message : error}`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
