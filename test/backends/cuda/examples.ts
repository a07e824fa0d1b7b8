/** The programs of cuda/examples, run with a library. */
import { execFile, execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const path = (name: string) => join(root, 'cuda/examples', name);

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
const ended = (command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> =>
  new Promise((resolve, reject) =>
    execFile(command, args, { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === 'number') resolve({ code, stdout, stderr });
      else reject(error);
    }),
  );

export const PROMPT = [510, 1543, 3081];
export const COUNT = 6;
const CHECKPOINT = join(root, 'models/mamba-books-15m/plan.quamba.safetensors');
const ARGUMENTS = [CHECKPOINT, COUNT, ...PROMPT].map(String);

/** Writes on from PROMPT on the embedded model. */
async function inC(library: string, folder: string): Promise<Ended> {
  const program = join(folder, 'generate');
  const flags = ['-std=c99', '-Wall', '-Wextra', '-pedantic', '-Werror', '-I', join(root, 'cuda/include')];
  execFileSync('cc', [
    ...flags,
    path('generate.c'),
    library,
    `-Wl,-rpath,${dirname(library)}`,
    '-o',
    program,
  ]);
  return ended(program, ARGUMENTS);
}
const inPython = (library: string): Promise<Ended> =>
  ended('python3', [path('generate.py'), ...ARGUMENTS], { QUAMBA_CUDA_LIB: library });
const quantizes = (library: string): Promise<Ended> => ended('python3', [path('op.py'), library]);

/** By name. `folder`: where a program may be built. */
export const examples: readonly (readonly [string, (library: string, folder: string) => Promise<Ended>])[] = [
  ['generate.c', inC],
  ['generate.py', inPython],
  ['op.py', quantizes],
];
