/** What the commands share: progress on stderr, results on stdout, and how an error ends the program. */
import { mkdirSync, readFileSync } from 'node:fs';
import { reasonOf } from '../formats/disk.ts';

/** Wrong usage: exit code 2. Everything else that fails: 1. */
export class UsageError extends Error {}

/**
 * What becomes of its output does not change what a command does, nor its verdict. It is no failure if a reader such as head closes
 * the pipe early, and progress that nobody takes is dropped. A result that is lost, as on a full disk, is told once; the exit code is
 * then 1 where it would have been 0.
 */
export function outliveStreams(): void {
  process.stderr.on('error', () => {});
  let told = false;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || told) return;
    told = true;
    process.stderr.write(`quamba: stdout: ${reasonOf(error)}\n`);
    process.once('exit', code => {
      process.exitCode = code || 1;
    });
  });
}

/** Reads a file that the user named. One that cannot be read is wrong usage. */
export function readGiven(path: string, what = path): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${what}: cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

/**
 * Makes the folder that an option names, with those above it.
 *
 * @returns the first folder that was not there before
 */
export function makeFolder(path: string, option: string): string | undefined {
  try {
    return mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new Error(`${option} ${path}: cannot be made a folder (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** Runs a check of what the user asked for; its failure is wrong usage. */
export function usage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** A rate over less than this is an accident of compiling and caches. */
const SECONDS_BEFORE_ESTIMATE = 2;

/** Shows progress on stderr: in a terminal on one line that is rewritten, elsewhere a line for every tenth. */
export function progressLine(label: string): (done: number, total: number) => void {
  const start = performance.now();
  let tenth = -1;
  let first: { readonly done: number; readonly at: number } | undefined;
  return (done, total) => {
    const now = performance.now();
    // What came before the first report, such as loading, or files of an earlier run, does not tell how fast it goes on.
    first ??= { done, at: now };
    const seconds = (now - first.at) / 1000;
    const left = Math.round((seconds / (done - first.done)) * (total - done));
    const estimate = seconds >= SECONDS_BEFORE_ESTIMATE && done > first.done ? `, about ${left} s left` : '';
    const line = `${label} ${done}/${total}, ${Math.round((now - start) / 1000)} s${estimate}`;
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}${done === total ? '\n' : ''}`);
    else if (Math.floor((10 * done) / total) > tenth) {
      tenth = Math.floor((10 * done) / total);
      process.stderr.write(`${line}\n`);
    }
  };
}

/** Progress of several things at once, each on lines of its own. */
export function progressLines(labelOf: (of: string) => string) {
  const lines = new Map<string, ReturnType<typeof progressLine>>();
  return (of: string, done: number, total: number): void => {
    const line = lines.get(of) ?? progressLine(labelOf(of));
    lines.set(of, line);
    line(done, total);
  };
}

export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value));
/** Prints a result, as JSON or in words. */
export const printAs = (json: boolean | undefined, value: unknown, inWords: () => string): void =>
  json ? printJson(value) : print(inWords());
