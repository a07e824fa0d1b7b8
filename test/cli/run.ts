/** Runs the command line as a user does: the built program, in a folder of its own. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect } from 'vitest';

export const bin = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
if (!existsSync(bin)) throw new Error(`${bin} is missing: npm test builds it, npm run build does too`);

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder for one test file, gone after its tests. */
export function workFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'quamba-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What is kept for the next time is kept in the folder of the test. */
export const envOf = (cwd: string) => ({ ...process.env, XDG_CACHE_HOME: join(cwd, '.cache') });

/** `quamba(folder, 'generate', '--prompt', 'a')`: what `quamba generate --prompt a` does in that folder. */
export const quamba = (cwd: string, ...args: string[]): Promise<Ended> =>
  new Promise((resolve, reject) =>
    execFile(
      process.execPath,
      [bin, ...args],
      { cwd, env: envOf(cwd), maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === 'number') resolve({ code, stdout, stderr });
        else reject(error);
      },
    ),
  );

/** stdout of a run that must go well. */
export async function printed(cwd: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await quamba(cwd, ...args);
  expect({ code, stderr: code ? stderr : '' }, args.join(' ')).toEqual({ code: 0, stderr: '' });
  return stdout;
}

/** The one JSON object that a run with --json prints. */
export async function answer<T>(cwd: string, ...args: string[]): Promise<T> {
  const stdout = await printed(cwd, ...args, '--json');
  expect(stdout, args.join(' ')).toMatch(/^\{.*\}\n$/);
  return JSON.parse(stdout);
}

/**
 * The sentence on stderr, besides progress, of a run that must fail with this code. stdout is empty, and nobody is shown a stack. What is
 * wrong usage may be followed by a hint at --help.
 */
export async function complaint(code: 1 | 2, cwd: string, ...args: string[]): Promise<string> {
  const ended = await quamba(cwd, ...args);
  expect({ code: ended.code, stdout: ended.stdout }, `${args.join(' ')}\n${ended.stderr}`).toEqual({
    code,
    stdout: '',
  });
  const isProgress = (line: string) => /^[^:]+ \d+\/\d+, \d+ s/.test(line);
  const [first, ...rest] = ended.stderr
    .trimEnd()
    .split('\n')
    .filter(line => !isProgress(line));
  expect(
    rest.filter(line => line !== '(--help shows the options)'),
    args.join(' '),
  ).toEqual([]);
  const sentence = /^(?:quamba|error): (.+)$/.exec(first)?.[1];
  expect(sentence, args.join(' ')).toBeTypeOf('string');
  return sentence as string;
}
