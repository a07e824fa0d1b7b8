/**
 * Zip files whose entries are stored as they are, which is how PyTorch writes a checkpoint: a range of the file for each
 * name, and nothing is unpacked.
 *
 *   [ local header │ name │ extra │ bytes ] … │ central directory │ end (64-bit) │ its locator │ end
 *
 * The file is taken as hostile: sizes and positions come from the central directory, every entry's own header must agree
 * with it, and entries may not overlap, so that one range of bytes cannot pass for two things. The CRC of an entry is not
 * compared: PyTorch does not either, and may be told to write none.
 *
 * Source  PKWARE APPNOTE 6.3.10, 4.3 to 4.5
 */
import type { ByteSource } from './bytes.ts';
import { show } from './json.ts';

export interface ZipEntry {
  /** Where its bytes are in the file: begin … end−1. */
  readonly begin: number;
  readonly end: number;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const END64_BYTES = 56;
const LOCATOR64_BYTES = 20;

const MOST_COMMENT_BYTES = 0xffff;
/** A checkpoint of 2.8 B parameters has 60 kB of it. */
const MOST_DIRECTORY_BYTES = 1 << 26;
const FULL16 = 0xffff;
const FULL32 = 0xffffffff;
const ENCRYPTED = 0x2041; // bit 0, 6 or 13
const SIZES_FOLLOW = 0x8;

/** Whether the file begins as a zip file does. */
export const isZip = (source: ByteSource): boolean =>
  source.size >= 4 && viewOf(source.read(0, 4)).getUint32(0, true) === LOCAL;

/** @throws Error naming the file and what is wrong with it. */
export function readZip(source: ByteSource): ReadonlyMap<string, ZipEntry> {
  const fail = (what: string): never => {
    throw new Error(`${source.name}: ${what}`);
  };
  const { begin, end, count } = findDirectory(source, fail);
  const entries = new Map<string, Listed>();
  const view = viewOf(source.read(begin, end));
  let at = 0;
  for (let i = 0; i < count; i++) {
    const { name, next, ...listed } = readListed(view, at, `zip entry ${i}`, fail);
    if (entries.has(name)) fail(`zip entry ${show(name)} stands twice in the directory`);
    entries.set(name, listed);
    at = next;
  }
  if (at !== view.byteLength)
    fail(`zip directory has ${view.byteLength} bytes; its ${count} entries have ${at}`);

  let free = 0;
  const ranges = new Map<string, ZipEntry>();
  for (const [name, listed] of [...entries].sort(([, a], [, b]) => a.header - b.header)) {
    const where = `zip entry ${show(name)}`;
    if (listed.header < free) fail(`${where} at byte ${listed.header} overlaps the one that ends at ${free}`);
    const first = checkLocal(source, where, name, listed, begin, fail);
    free = first + listed.size;
    ranges.set(name, { begin: first, end: free });
  }
  return ranges;
}

type Fail = (what: string) => never;

interface Directory {
  readonly begin: number;
  readonly end: number;
  readonly count: number;
}

function findDirectory(source: ByteSource, fail: Fail): Directory {
  const { size } = source;
  if (size < END_BYTES) fail(`expected a zip file of at least ${END_BYTES} bytes; got ${size}`);
  const tailStart = Math.max(0, size - END_BYTES - MOST_COMMENT_BYTES);
  const tail = viewOf(source.read(tailStart, size));
  let at = tail.byteLength - END_BYTES;
  const isEnd = () =>
    tail.getUint32(at, true) === END && at + END_BYTES + tail.getUint16(at + 20, true) === tail.byteLength;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) fail('expected a zip file, which ends in a directory; found none; is it cut off?');

  const endStart = tailStart + at;
  const u16 = (offset: number) => tail.getUint16(at + offset, true);
  const u32 = (offset: number) => tail.getUint32(at + offset, true);
  const said = { count: u16(10), size: u32(12), begin: u32(16) };
  if (u16(4) !== 0 || u16(6) !== 0 || u16(8) !== u16(10))
    fail('zip file in several parts; expected one of one part');
  const wide = readEnd64(source, endStart, fail);
  if (!wide && (said.count === FULL16 || said.size === FULL32 || said.begin === FULL32))
    fail('zip directory has 64-bit sizes, but not the record that holds them');
  const agrees = (narrow: number, full: number, exact: number) => narrow === full || narrow === exact;
  if (
    wide &&
    !(
      agrees(said.count, FULL16, wide.count) &&
      agrees(said.size, FULL32, wide.size) &&
      agrees(said.begin, FULL32, wide.begin)
    )
  )
    fail('the two ends of the zip directory disagree');
  const { count, size: bytes, begin, end } = wide ?? { ...said, end: endStart };
  if (bytes > MOST_DIRECTORY_BYTES)
    fail(`zip directory expected at most ${MOST_DIRECTORY_BYTES} bytes; got ${bytes}`);
  if (begin + bytes !== end)
    fail(`zip directory at byte ${begin} with ${bytes} bytes expected to end at byte ${end}`);
  if (count * CENTRAL_BYTES > bytes)
    fail(`zip directory of ${bytes} bytes is too small for ${count} entries`);
  return { begin, end, count };
}

/** The 64-bit end that stands before the end at `endStart`, if there is one. */
function readEnd64(source: ByteSource, endStart: number, fail: Fail) {
  const locatorStart = endStart - LOCATOR64_BYTES;
  if (locatorStart < 0) return undefined;
  const locator = viewOf(source.read(locatorStart, endStart));
  if (locator.getUint32(0, true) !== LOCATOR64) return undefined;
  const start = u64(locator, 8);
  if (start + END64_BYTES > locatorStart)
    fail(`64-bit end of the zip directory at byte ${start} expected before byte ${locatorStart}`);
  const view = viewOf(source.read(start, start + END64_BYTES));
  if (view.getUint32(0, true) !== END64 || start + 12 + u64(view, 4) !== locatorStart)
    fail(`no 64-bit end of the zip directory at byte ${start}`);
  if (view.getUint32(16, true) !== 0 || view.getUint32(20, true) !== 0 || u64(view, 24) !== u64(view, 32))
    fail('zip file in several parts; expected one of one part');
  return { count: u64(view, 32), size: u64(view, 40), begin: u64(view, 48), end: start };
}

/** What the central directory says of an entry. */
interface Listed {
  readonly header: number;
  readonly size: number;
  readonly flags: number;
}

function readListed(view: DataView, at: number, where: string, fail: Fail) {
  const bytesLeft = (wanted: number) => {
    if (at + wanted > view.byteLength) fail(`${where} does not fit in the zip directory`);
  };
  bytesLeft(CENTRAL_BYTES);
  const u16 = (offset: number) => view.getUint16(at + offset, true);
  const u32 = (offset: number) => view.getUint32(at + offset, true);
  if (u32(0) !== CENTRAL) fail(`${where} expected its signature; got 0x${u32(0).toString(16)}`);
  const [flags, method] = [u16(8), u16(10)];
  const [nameBytes, extraBytes, commentBytes] = [u16(28), u16(30), u16(32)];
  const total = CENTRAL_BYTES + nameBytes + extraBytes + commentBytes;
  bytesLeft(total);
  const name = nameOf(view, at + CENTRAL_BYTES, nameBytes, where, fail);
  const named = `zip entry ${show(name)}`;
  if (flags & ENCRYPTED) fail(`${named} is encrypted`);
  if (method !== 0) fail(`${named} expected to be stored (method 0); got method ${method}`);

  // The 64-bit extra holds, in this order, only those whose 32-bit field is full.
  const wide = extra64(view, at + CENTRAL_BYTES + nameBytes, extraBytes, named, fail);
  const sizeOf = (offset: number) => (u32(offset) === FULL32 ? wide() : u32(offset));
  const size = sizeOf(24);
  const packed = sizeOf(20);
  const header = sizeOf(42);
  if (packed !== size) fail(`${named} is stored, but has ${packed} bytes for ${size}`);
  if (u16(34) !== 0) fail('zip file in several parts; expected one of one part');
  return { name, header, size, flags, next: at + total };
}

/** Gives the next 64-bit number of the extra field with each call. */
function extra64(view: DataView, start: number, bytes: number, where: string, fail: Fail): () => number {
  let [at, end] = [start, start];
  for (let next = start; next + 4 <= start + bytes; ) {
    const size = view.getUint16(next + 2, true);
    if (next + 4 + size > start + bytes) break;
    if (view.getUint16(next, true) === 1) [at, end] = [next + 4, next + 4 + size];
    next += 4 + size;
  }
  return () => {
    if (at + 8 > end) fail(`${where} has 64-bit sizes, but not the field that holds them`);
    at += 8;
    return u64(view, at - 8);
  };
}

/** @returns where the entry's bytes begin. */
function checkLocal(
  source: ByteSource,
  where: string,
  name: string,
  { header, size, flags }: Listed,
  limit: number,
  fail: Fail,
): number {
  if (header + LOCAL_BYTES > limit)
    fail(`${where} at byte ${header} expected before the directory at ${limit}`);
  const view = viewOf(source.read(header, header + LOCAL_BYTES));
  if (view.getUint32(0, true) !== LOCAL) fail(`${where}: no header of an entry at byte ${header}`);
  const [nameBytes, extraBytes] = [view.getUint16(26, true), view.getUint16(28, true)];
  const begin = header + LOCAL_BYTES + nameBytes + extraBytes;
  if (begin + size > limit)
    fail(`${where} with ${size} bytes from byte ${begin} on expected before the directory at ${limit}`);
  const own = viewOf(source.read(header + LOCAL_BYTES, header + LOCAL_BYTES + nameBytes));
  const ownName = nameOf(own, 0, nameBytes, where, fail);
  if (ownName !== name) fail(`${where} calls itself ${show(ownName)}`);
  if (view.getUint16(8, true) !== 0 || view.getUint16(6, true) & ENCRYPTED)
    fail(`${where} is stored by the directory, but not by its own header`);
  const ownSize = view.getUint32(22, true);
  const follows = view.getUint16(6, true) & flags & SIZES_FOLLOW;
  if (ownSize !== size && ownSize !== FULL32 && !(follows && ownSize === 0))
    fail(`${where} has ${size} bytes by the directory; its own header says ${ownSize}`);
  return begin;
}

function nameOf(view: DataView, at: number, length: number, where: string, fail: Fail): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      new Uint8Array(view.buffer, view.byteOffset + at, length),
    );
  } catch {
    return fail(`${where}: name expected UTF-8 text; got bytes that are not`);
  }
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** What does not fit a double exactly is larger than any file, and is refused as such. */
const u64 = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));
