/** Why a system call failed, in words. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EISDIR: 'expected a file; got a folder',
  ENOTDIR: 'expected a folder; got a file',
  ENXIO: 'expected a file; got a socket',
  ENOSPC: 'no space left on the disk',
  EROFS: 'the file system is read-only',
  EPIPE: 'whoever read it has gone',
};

/** Runs one system call; its failure becomes one sentence that names the file. */
export function attempt<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw inWords(path, error);
  }
}

/** What a system call failed with, as one sentence that names the file. */
export function inWords(path: string, error: unknown): Error {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  return new Error(`${path}: ${REASONS[code] ?? code}`, { cause: error });
}
