/** Files on disk: the only part of the library that knows Node. */
import { randomUUID } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type ByteSource, checkRange, type Folder } from './bytes.ts';
import { attempt, inWords } from './system-call.ts';
import { orUndo, turn } from './undo.ts';

/** Node refuses to read or write 2 GiB or more at once. */
const MOST_AT_ONCE = 1 << 30;

/** Without O_NONBLOCK, which Windows does not have, to open a pipe waits until somebody writes into it. */
const READ_AT_ONCE = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Opens a file for reading in ranges. Nothing is read yet.
 *
 * @param name how errors call it.
 * @throws Error when there is no such file, it is a folder, a pipe or a device, or it may not be read.
 */
export function openFile(path: string, name = path): ByteSource {
  let fd: number | undefined = attempt(name, () => openSync(path, READ_AT_ONCE));
  const status = fstatSync(fd);
  if (!status.isFile()) {
    closeSync(fd);
    const got = status.isDirectory() ? 'folder' : status.isFIFO() ? 'pipe' : 'device';
    throw new Error(`${name}: expected a file; got a ${got}`);
  }
  const readInto = (target: Uint8Array, begin: number): void => {
    if (fd === undefined) throw new Error(`${name}: read after it was closed`);
    checkRange(name, status.size, begin, begin + target.length);
    for (let done = 0; done < target.length; ) {
      const length = Math.min(target.length - done, MOST_AT_ONCE);
      const read = attempt(name, () => readSync(fd!, target, done, length, begin + done));
      if (read === 0) throw new Error(`${name}: ends at byte ${begin + done}; it was cut while being read`);
      done += read;
    }
  };
  return {
    name,
    size: status.size,
    readInto,
    read(begin, end) {
      checkRange(name, status.size, begin, end);
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

/** More than any text or list of results that is read whole; V8 has no longer strings than twice that. */
export const MOST_BYTES_AT_ONCE = 2 ** 28;

/**
 * The whole of a file that is expected to be small. A pipe is read to its end, as for `<(zcat x.gz)`; `pipes: false` refuses one, for
 * what nobody named but what lies in a folder.
 *
 * @throws as `openFile`, and Error for one of more than `most` bytes.
 */
export function readFile(
  path: string,
  { name = path, most = MOST_BYTES_AT_ONCE, pipes = true } = {},
): Uint8Array {
  if (pipes && attempt(name, () => statSync(path, { throwIfNoEntry: false })?.isFIFO()))
    return readPipe(path, name, most);
  const source = openFile(path, name);
  try {
    if (source.size > most)
      throw new Error(`${name}: expected a file of at most ${most} bytes; got ${source.size}`);
    return source.read(0, source.size);
  } finally {
    source.close();
  }
}

/** Waits until somebody writes, and until they have written all. */
function readPipe(path: string, name: string, most: number): Uint8Array {
  const fd = attempt(name, () => openSync(path, 'r'));
  try {
    const chunks: Uint8Array[] = [];
    for (let size = 0; ; ) {
      const chunk = new Uint8Array(1 << 16);
      const read = attempt(name, () => readSync(fd, chunk));
      if (read === 0) return Buffer.concat(chunks);
      size += read;
      if (size > most) throw new Error(`${name}: expected a file of at most ${most} bytes; got more`);
      chunks.push(chunk.slice(0, read));
    }
  } finally {
    closeSync(fd);
  }
}

/** @throws Error when there is no such folder. */
export function openFolder(path: string): Folder {
  const entries = attempt(path, () => readdirSync(path, { withFileTypes: true }));
  // Links count as files: the Hugging Face cache is made of them.
  const files = entries.filter(entry => !entry.isDirectory()).map(entry => entry.name);
  return { name: path, list: () => files, open: file => openFile(join(path, file)) };
}

/**
 * Writes a file so that its name holds either what it held before or all of `chunks`, also after a crash, a signal, or when
 * `chunks` throws half-way: into a temporary file beside it, which is renamed at the end and removed on failure. Links are
 * followed, and the mode of a file stays. A device, a FIFO and a standard stream are written into.
 *
 * @throws Error in one sentence that begins with the path.
 */
export async function writeFileAtomic(path: string, chunks: Iterable<Uint8Array>): Promise<void> {
  const { stream, file, mode } = attempt(path, () => placeOf(path));
  if (stream) {
    for (const chunk of chunks)
      await new Promise<void>((resolve, reject) =>
        stream.write(chunk, error => (error ? reject(inWords(path, error)) : resolve())),
      );
    return;
  }
  if (file === undefined) {
    const fd = attempt(path, () => openSync(path, 'a'));
    try {
      for (const chunk of chunks) attempt(path, () => writeAll(fd, chunk));
    } finally {
      closeSync(fd);
    }
    return;
  }
  const temporary = temporaryOf(file);
  const remove = () => rmSync(temporary, { force: true });
  await orUndo(remove, async () => {
    const fd = attempt(path, () => openSync(temporary, 'wx', mode));
    try {
      if (mode !== undefined && fstatSync(fd).mode !== mode) keepMode(fd, mode);
      for (const chunk of chunks) {
        attempt(path, () => writeAll(fd, chunk));
        await turn();
      }
      attempt(path, () => fsyncSync(fd));
    } finally {
      closeSync(fd);
    }
    await turn();
    attempt(path, () => renameSync(temporary, file));
  });
}

/**
 * Writes files into a folder, one after the other, and makes what folders they need. Where one fails, those before it that were
 * not there earlier are removed again, and the new folders where nothing else has come into them.
 */
export async function writeFiles(
  folder: string,
  files: Iterable<readonly [name: string, chunks: Iterable<Uint8Array>]>,
): Promise<void> {
  const written: string[] = [];
  const made: string[] = [];
  const undo = () => {
    for (const file of written) rmSync(file, { force: true });
    removeEmpty(made);
  };
  await orUndo(undo, async () => {
    for (const [name, chunks] of files) {
      const file = join(folder, name);
      const isNew = !existsSync(file);
      made.push(...makeFolder(dirname(file)));
      await writeFileAtomic(file, chunks);
      if (isNew) written.push(file);
    }
  });
}

/** @throws Error that writing the file would end with, as far as it can be known without writing anything. */
export function checkWritable(path: string, what = path): void {
  attempt(what, () => {
    const { file } = placeOf(path);
    if (file !== undefined) accessSync(dirname(file), constants.W_OK);
  });
}

/** Whether bytes for this path go out as they come: it is a device, a pipe or a standard stream of this process. */
export const isStream = (path: string): boolean =>
  attempt(path, () => existsSync(path) && !isFolder(path) && placeOf(path).file === undefined);

/** Whether the path is where this process prints: what it prints would come into the file. */
export const isStdout = (path: string): boolean =>
  attempt(path, () => existsSync(path) && !isFolder(path) && placeOf(path).stream === process.stdout);

/** As `checkWritable`, of a folder, which need not be there yet. */
export function checkWritableFolder(path: string): void {
  const made = makeFolder(path);
  try {
    checkWritable(join(path, 'file'), path);
  } finally {
    removeEmpty(made);
  }
}

/**
 * Makes a folder and those above it. Node's own recursive mkdir never ends below /proc (seen with Node 20 to 24).
 *
 * @returns those that were not there before, the outermost first
 */
export function makeFolder(path: string): readonly string[] {
  if (isFolder(path)) return [];
  const above = dirname(path);
  const made = above === path ? [] : makeFolder(above);
  try {
    mkdirSync(path);
  } catch (error) {
    if (isFolder(path)) return made; // another process was faster
    removeEmpty(made);
    throw inWords(path, (error as NodeJS.ErrnoException).code === 'EEXIST' ? failure('ENOTDIR') : error);
  }
  return [...made, path];
}

/** Removes those of the folders in which nothing is; the innermost stand last. */
function removeEmpty(folders: readonly string[]): void {
  for (const folder of folders.toReversed())
    try {
      rmdirSync(folder);
    } catch {
      // Something came into it meanwhile.
    }
}

/** A path without links. It need not be there: what is there of it counts. */
export function realPath(path: string): string {
  const whole = resolve(path);
  try {
    return realpathSync(whole);
  } catch (error) {
    const above = dirname(whole);
    if (above === whole) return whole;
    const isDangling =
      (error as NodeJS.ErrnoException).code === 'ENOENT' &&
      lstatSync(whole, { throwIfNoEntry: false })?.isSymbolicLink();
    return isDangling
      ? realPath(resolve(realPath(above), readlinkSync(whole)))
      : join(realPath(above), basename(whole));
  }
}

export const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

const temporaryOf = (file: string): string => join(dirname(file), `.${basename(file)}.${randomUUID()}.tmp`);

/** What the umask took from a new file it has again. Where the disk knows no modes, none is lost. */
function keepMode(fd: number, mode: number): void {
  try {
    fchmodSync(fd, mode & 0o7777);
  } catch {}
}

/** What is written for a path: a file; a stream of this process; or, where it is neither, what takes bytes as they come. */
type Place =
  | { readonly file: string; readonly mode?: number; readonly stream?: undefined }
  | { readonly file?: undefined; readonly mode?: undefined; readonly stream?: NodeJS.WriteStream };

function placeOf(path: string): Place {
  const status = statSync(path, { throwIfNoEntry: false });
  if (!status) {
    if (/(?:^|[/\\])$/.test(path)) throw failure('EISDIR');
    return { file: followed(path) };
  }
  if (status.isDirectory()) throw failure('EISDIR');
  accessSync(path, constants.W_OK); // a rename would replace what may not be written, too
  // `--junit /dev/stdout > log`: what is printed stands in the same file; and a socket cannot be opened
  const same = ({ dev, ino }: Stats) => dev === status.dev && ino === status.ino;
  for (const fd of [1, 2] as const)
    if (same(fstatSync(fd))) return { stream: fd === 1 ? process.stdout : process.stderr };
  return status.isFile() ? { file: realpathSync(path), mode: status.mode } : {};
}

/** The file that is not there yet, at the end of links or without any. */
function followed(path: string): string {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return path;
  return followed(resolve(realpathSync(dirname(path)), readlinkSync(path)));
}

const failure = (code: string): Error => Object.assign(new Error(code), { code });

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(fd, bytes, done, Math.min(bytes.length - done, MOST_AT_ONCE));
}
