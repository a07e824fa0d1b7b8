/** Why a system call failed, in words. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EISDIR: 'expected a file; got a folder',
  ENOTDIR: 'expected a folder; got a file',
  ENXIO: 'expected a file; got a socket',
  ENOSPC: 'no space left on the disk',
  EROFS: 'the file system is read-only',
  EPERM: 'operation not permitted',
  ELOOP: 'a link that leads to itself',
  ENAMETOOLONG: 'the name is too long',
  EMFILE: 'this process has too many files open',
  EDQUOT: 'no space left in the quota',
  EFBIG: 'the file is too large for the file system',
  EIO: 'the disk cannot be read or written',
  EBUSY: 'is in use',
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
