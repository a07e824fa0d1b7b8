/** What the commands share: progress on stderr, results on stdout, and how an error ends the program. */
import { fstatSync } from 'node:fs';
import { decodeUtf8 } from '../formats/bytes.ts';
import { readFile } from '../formats/disk.ts';
import { plain } from '../formats/json.ts';
import { inWords } from '../formats/system-call.ts';

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
    tell(`quamba: ${inWords('stdout', error).message}`);
    process.once('exit', code => {
      process.exitCode = code || 1;
    });
  });
}

/** Reads a file that the user named. One that cannot be read is wrong usage. */
export const readGiven = (path: string, options?: Parameters<typeof readFile>[1]): Uint8Array =>
  usage(() => readFile(path, options));

/** Reads a text that the user named. */
export function readText(path: string): string {
  const text = decodeUtf8(readGiven(path));
  if (text === undefined) throw new UsageError(`${path}: expected UTF-8 text; got bytes that are not`);
  return text;
}

/** What Node reads of a folder is nothing, without an error. */
export function checkStdin(): void {
  if (fstatSync(0).isDirectory()) throw new UsageError('standard input: expected a text; got a folder');
}

/** Runs a check of what the user asked for; its failure is wrong usage. */
export function usage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Tokens a second. */
export const rate = (tokens: number, seconds: number): number =>
  seconds > 0 ? Number((tokens / seconds).toFixed(2)) : 0;

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
    const line = `${plain(label)} ${done}/${total}, ${Math.round((now - start) / 1000)} s${estimate}`;
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

/**
 * What the commands say goes through `print` and `tell`, all but the text that a model writes: there may be names from a file in
 * it, and a terminal takes some characters as commands.
 */
export const print = (text: string): void => void process.stdout.write(`${harmless(text)}\n`);
/** A sentence on stderr. No path that a system takes is longer. */
export const tell = (sentence: string): void => void process.stderr.write(`${plain(sentence, 5000)}\n`);
/** Lines stay lines, and JSON the same value. */
export const harmless = (text: string): string =>
  text
    .split('\n')
    .map(line => plain(line, Infinity))
    .join('\n');

export const printJson = (value: unknown): void => print(JSON.stringify(value));
/** Prints a result, as JSON or in words. */
export const printAs = (json: boolean | undefined, value: unknown, inWords: () => string): void =>
  json ? printJson(value) : print(inWords());
