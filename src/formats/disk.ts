/** Files on disk: the only part of the library that knows Node. */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type ByteSource, checkRange, type Folder } from './bytes.ts';

/** Node refuses to read or write 2 GiB or more at once. */
const MOST_AT_ONCE = 1 << 30;

/**
 * Opens a file for reading in ranges. Nothing is read yet.
 *
 * @throws Error when there is no such file, it is a folder, or it may not be read.
 */
export function openFile(path: string): ByteSource {
  let fd: number | undefined = attempt(path, () => openSync(path, 'r'));
  const status = fstatSync(fd);
  if (!status.isFile()) {
    closeSync(fd);
    throw new Error(`${path}: expected a file; got a ${status.isDirectory() ? 'folder' : 'device'}`);
  }
  const readInto = (target: Uint8Array, begin: number): void => {
    if (fd === undefined) throw new Error(`${path}: read after it was closed`);
    checkRange(path, status.size, begin, begin + target.length);
    for (let done = 0; done < target.length; ) {
      const length = Math.min(target.length - done, MOST_AT_ONCE);
      const read = attempt(path, () => readSync(fd!, target, done, length, begin + done));
      if (read === 0) throw new Error(`${path}: ends at byte ${begin + done}; it was cut while being read`);
      done += read;
    }
  };
  return {
    name: path,
    size: status.size,
    readInto,
    read(begin, end) {
      checkRange(path, status.size, begin, end);
      const bytes = new Uint8Array(end - begin);
      readInto(bytes, begin);
      return bytes;
    },
    close() {
      if (fd !== undefined) closeSync(fd);
      fd = undefined;
    },
  };
}

/** @throws Error when there is no such folder. */
export function openFolder(path: string): Folder {
  const entries = attempt(path, () => readdirSync(path, { withFileTypes: true }));
  // Links count as files: the Hugging Face cache is made of them.
  const files = entries.filter(entry => !entry.isDirectory()).map(entry => entry.name);
  return { name: path, list: () => files, open: file => openFile(join(path, file)) };
}

/**
 * Writes a file so that its name holds either what it held before or all of `chunks`, also after a crash or when
 * `chunks` throws half-way: into a temporary file beside it, which is renamed at the end and removed on failure.
 */
export function writeFileAtomic(path: string, chunks: Iterable<Uint8Array>): void {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  const fd = attempt(path, () => openSync(temporary, 'wx'));
  try {
    try {
      for (const chunk of chunks) attempt(path, () => writeAll(fd, chunk));
      attempt(path, () => fsyncSync(fd));
    } finally {
      closeSync(fd);
    }
    attempt(path, () => renameSync(temporary, path));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(fd, bytes, done, Math.min(bytes.length - done, MOST_AT_ONCE));
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EISDIR: 'expected a file; got a folder',
  ENOTDIR: 'expected a folder; got a file',
  ENOSPC: 'no space left on the disk',
};

/** Why a system call failed, in words. */
export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  return REASONS[code] ?? code;
}

/** Runs one system call; its failure becomes one sentence that names the file. */
function attempt<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}
