/**
 * Where bytes come from: a file on disk (disk.ts), or an array that is in memory already. Readers of formats see only
 * these two interfaces, so they run in a page too.
 */

/** Bytes that are read in ranges, synchronously, so that a large file is never in memory whole. */
export interface ByteSource {
  /** How errors call it. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** The bytes begin … end−1. Not to be written to: they may be the source's own. */
  read(begin: number, end: number): Uint8Array;
  /** Fills `target` with the bytes from `begin` on. */
  readInto(target: Uint8Array, begin: number): void;
  close(): void;
}

/** A flat set of files, such as the folder of a checkpoint. */
export interface Folder {
  readonly name: string;
  /** The names of its files. */
  list(): readonly string[];
  open(file: string): ByteSource;
}

/** What `read` makes of a file of the folder, which is closed again. */
export function using<T>(folder: Folder, file: string, read: (source: ByteSource) => T): T {
  const source = folder.open(file);
  try {
    return read(source);
  } finally {
    source.close();
  }
}

/** @throws RangeError when begin … end is not inside the source. */
export function checkRange(name: string, size: number, begin: number, end: number): void {
  if (
    !(Number.isSafeInteger(begin) && Number.isSafeInteger(end) && 0 <= begin && begin <= end && end <= size)
  )
    throw new RangeError(`${name}: bytes ${begin} … ${end} are not inside its ${size} bytes`);
}

/** Bytes in memory (not copied). */
export function fromBytes(name: string, bytes: Uint8Array): ByteSource {
  const read = (begin: number, end: number): Uint8Array => {
    checkRange(name, bytes.length, begin, end);
    return bytes.subarray(begin, end);
  };
  return {
    name,
    size: bytes.length,
    read,
    readInto: (target, begin) => target.set(read(begin, begin + target.length)),
    close() {},
  };
}

/** Files in memory, by name. */
export function folderOf(name: string, files: Readonly<Record<string, Uint8Array>>): Folder {
  return {
    name,
    list: () => Object.keys(files),
    open(file) {
      if (!Object.hasOwn(files, file)) throw new Error(`${name}/${file}: no such file`);
      return fromBytes(`${name}/${file}`, files[file]);
    },
  };
}

/** The bytes of a typed array as they are in memory (little-endian on every platform that runs this). */
export const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** All of them, one after the other. */
export function concat(chunks: Iterable<Uint8Array>): Uint8Array {
  const parts = [...chunks];
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The text whose UTF-8 the bytes are, or undefined where they are none's. */
export function decodeUtf8(bytes: Uint8Array, options?: TextDecoderOptions): string | undefined {
  try {
    return new TextDecoder('utf-8', { ...options, fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
