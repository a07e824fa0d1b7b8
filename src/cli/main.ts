#!/usr/bin/env node
/** The command line. Exit code 0; 1 when something failed; 2 for wrong usage. */
import { CommanderError } from 'commander';
import { command } from './command.ts';
import { outliveStreams, tell, UsageError } from './terminal.ts';
import { version } from './version.ts';

/** In the order of the help. Only the command that is asked for is loaded: all of them take a fifth of a second. */
const COMMANDS = {
  generate: async () => (await import('./generate.ts')).generateCommand,
  chat: async () => (await import('./chat.ts')).chatCommand,
  serve: async () => (await import('./serve.ts')).serveCommand,
  quantize: async () => (await import('./quantize.ts')).quantizeCommand,
  inspect: async () => (await import('./inspect.ts')).inspectCommand,
  eval: async () => (await import('./eval.ts')).evalCommand,
  ablate: async () => (await import('./ablate.ts')).ablateCommand,
  report: async () => (await import('./report.ts')).reportCommand,
  doctor: async () => (await import('./doctor.ts')).doctorCommand,
  bench: async () => (await import('./bench.ts')).benchCommand,
  conform: async () => (await import('./conform.ts')).conformCommand,
  export: async () => (await import('./export.ts')).exportCommand,
  pull: async () => (await import('./pull.ts')).pullCommand,
};
const isCommand = (word: string | undefined): word is keyof typeof COMMANDS =>
  Object.hasOwn(COMMANDS, word ?? '');
const [, , first] = process.argv;
const asked = isCommand(first) ? [COMMANDS[first]] : Object.values(COMMANDS);

const program = command(
  'quamba',
  'Quantized inference of Mamba, with the same bits everywhere.',
  [],
  '\nStart with:\n  quamba generate --prompt "The old man looked out of the window and saw"',
)
  .version(version)
  .enablePositionalOptions(); // options after `eval merge` belong to merge
for (const load of asked) program.addCommand(await load());

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
