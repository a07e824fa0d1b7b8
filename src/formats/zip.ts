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
import { type ByteSource, decodeUtf8 } from './bytes.ts';
import { show } from './json.ts';
import { refuse } from './refusal.ts';

export interface ZipEntry {
  /** Where its bytes are in the file: begin … end−1. */
  readonly begin: number;
  readonly end: number;
}

/** The records of a zip file, by the signature that each begins with and the bytes that it has at least. */
const LOCAL = { signature: 0x04034b50, bytes: 30 };
const CENTRAL = { signature: 0x02014b50, bytes: 46 };
const END = { signature: 0x06054b50, bytes: 22 };
const END64 = { signature: 0x06064b50, bytes: 56 };
const LOCATOR64 = { signature: 0x07064b50, bytes: 20 };

const MOST_COMMENT_BYTES = 0xffff;
/** A checkpoint of 2.8 B parameters has 60 kB of it. */
const MOST_DIRECTORY_BYTES = 1 << 22;
const FULL32 = 0xffffffff;
/** What the end says in place of a number that only the 64-bit end can hold. */
const FULL = { count: 0xffff, size: FULL32, begin: FULL32 };
const ENCRYPTED = 0x2041; // bit 0, 6 or 13
const SIZES_FOLLOW = 0x8;

/** The numbers of a record, by how many of its bytes stand before them. */
function numbers(record: Uint8Array) {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  return {
    u16: (offset: number) => view.getUint16(offset, true),
    u32: (offset: number) => view.getUint32(offset, true),
    /** What does not fit a double exactly is larger than any file, and is refused as such. */
    u64: (offset: number) => Number(view.getBigUint64(offset, true)),
  };
}

/** Whether the file begins as a zip file does. */
export const isZip = (source: ByteSource): boolean =>
  source.size >= 4 && numbers(source.read(0, 4)).u32(0) === LOCAL.signature;

/** Refuses a file that is no zip file of this kind, and says what is wrong with it. */
export function readZip(source: ByteSource): ReadonlyMap<string, ZipEntry> {
  const { begin, end, count } = findDirectory(source);
  const directory = source.read(begin, end);
  const entries = new Map<string, Listed>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    const listed = readListed(directory, at, `zip entry ${i}`);
    if (entries.has(listed.name)) refuse(`${listed.where} stands twice in the directory`);
    entries.set(listed.name, listed);
    at = listed.next;
  }
  if (at !== directory.length)
    refuse(`zip directory has ${directory.length} bytes; its ${count} entries have ${at}`);

  let free = 0;
  const ranges = new Map<string, ZipEntry>();
  for (const listed of [...entries.values()].sort((a, b) => a.header - b.header)) {
    const { name, where, header, size } = listed;
    if (header < free) refuse(`${where} at byte ${header} overlaps the one that ends at ${free}`);
    const first = checkLocal(source, listed, begin);
    free = first + size;
    ranges.set(name, { begin: first, end: free });
  }
  return ranges;
}

function findDirectory(source: ByteSource) {
  const { size } = source;
  if (size < END.bytes) refuse(`expected a zip file of at least ${END.bytes} bytes; got ${size}`);
  const tailStart = Math.max(0, size - END.bytes - MOST_COMMENT_BYTES);
  const tail = source.read(tailStart, size);
  const { u16, u32 } = numbers(tail);
  let at = tail.length - END.bytes;
  const isEnd = () => u32(at) === END.signature && at + END.bytes + u16(at + 20) === tail.length;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) refuse('expected a zip file, which ends in a directory; found none; is it cut off?');

  if (u16(at + 4) !== 0 || u16(at + 6) !== 0 || u16(at + 8) !== u16(at + 10)) refuse(SEVERAL_PARTS);
  const endStart = tailStart + at;
  const said = { count: u16(at + 10), size: u32(at + 12), begin: u32(at + 16) };
  const wide = readEnd64(source, endStart);
  const keys = ['count', 'size', 'begin'] as const;
  if (!wide && keys.some(key => said[key] === FULL[key]))
    refuse('zip directory has 64-bit sizes, but not the record that holds them');
  if (wide && !keys.every(key => said[key] === FULL[key] || said[key] === wide[key]))
    refuse('the two ends of the zip directory disagree');
  const { count, size: bytes, begin, end } = wide ?? { ...said, end: endStart };
  if (bytes > MOST_DIRECTORY_BYTES)
    refuse(`zip directory expected at most ${MOST_DIRECTORY_BYTES} bytes; got ${bytes}`);
  if (begin + bytes !== end)
    refuse(`zip directory at byte ${begin} with ${bytes} bytes expected to end at byte ${end}`);
  if (count * CENTRAL.bytes > bytes)
    refuse(`zip directory of ${bytes} bytes is too small for ${count} entries`);
  return { begin, end, count };
}

const SEVERAL_PARTS = 'zip file in several parts; expected one of one part';

/** The 64-bit end that stands before the end at `endStart`, if there is one. */
function readEnd64(source: ByteSource, endStart: number) {
  const locatorStart = endStart - LOCATOR64.bytes;
  if (locatorStart < 0) return undefined;
  const locator = numbers(source.read(locatorStart, endStart));
  if (locator.u32(0) !== LOCATOR64.signature) return undefined;
  const start = locator.u64(8);
  if (start + END64.bytes > locatorStart)
    refuse(`64-bit end of the zip directory at byte ${start} expected before byte ${locatorStart}`);
  const { u32, u64 } = numbers(source.read(start, start + END64.bytes));
  if (u32(0) !== END64.signature || start + 12 + u64(4) !== locatorStart)
    refuse(`no 64-bit end of the zip directory at byte ${start}`);
  if (u32(16) !== 0 || u32(20) !== 0 || u64(24) !== u64(32)) refuse(SEVERAL_PARTS);
  return { count: u64(32), size: u64(40), begin: u64(48), end: start };
}

/** What the central directory says of an entry. */
type Listed = ReturnType<typeof readListed>;

function readListed(directory: Uint8Array, at: number, place: string) {
  const rest = directory.subarray(at);
  const checkFits = (bytes: number) => {
    if (bytes > rest.length) refuse(`${place} does not fit in the zip directory`);
  };
  checkFits(CENTRAL.bytes);
  const { u16, u32 } = numbers(rest);
  if (u32(0) !== CENTRAL.signature) refuse(`${place} expected its signature; got 0x${u32(0).toString(16)}`);
  const [flags, method] = [u16(8), u16(10)];
  const extraStart = CENTRAL.bytes + u16(28);
  const extraEnd = extraStart + u16(30);
  const total = extraEnd + u16(32);
  checkFits(total);
  const name = nameOf(rest.subarray(CENTRAL.bytes, extraStart), place);
  const where = `zip entry ${show(name)}`;
  if (flags & ENCRYPTED) refuse(`${where} is encrypted`);
  if (method !== 0) refuse(`${where} expected to be stored (method 0); got method ${method}`);

  // The 64-bit extra holds, in this order, only those whose 32-bit field is full.
  const wide = extra64(rest.subarray(extraStart, extraEnd), where);
  const [size, packed, header] = [24, 20, 42].map(offset => (u32(offset) === FULL32 ? wide() : u32(offset)));
  if (packed !== size) refuse(`${where} is stored, but has ${packed} bytes for ${size}`);
  if (u16(34) !== 0) refuse(SEVERAL_PARTS);
  return { name, where, header, size, flags, next: at + total };
}

/** Gives the next 64-bit number of the extra field with each call. */
function extra64(extra: Uint8Array, where: string): () => number {
  const { u16, u64 } = numbers(extra);
  let [at, end] = [0, 0];
  for (let next = 0; next + 4 <= extra.length; ) {
    const begin = next + 4;
    next = begin + u16(next + 2);
    if (next <= extra.length && u16(begin - 4) === 1) [at, end] = [begin, next];
  }
  return () => {
    if (at + 8 > end) refuse(`${where} has 64-bit sizes, but not the field that holds them`);
    at += 8;
    return u64(at - 8);
  };
}

/** @returns where the entry's bytes begin. */
function checkLocal(source: ByteSource, { name, where, header, size, flags }: Listed, limit: number): number {
  const nameStart = header + LOCAL.bytes;
  if (nameStart > limit) refuse(`${where} at byte ${header} expected before the directory at ${limit}`);
  const { u16, u32 } = numbers(source.read(header, nameStart));
  if (u32(0) !== LOCAL.signature) refuse(`${where}: no header of an entry at byte ${header}`);
  const nameEnd = nameStart + u16(26);
  const begin = nameEnd + u16(28);
  if (begin + size > limit)
    refuse(`${where} with ${size} bytes from byte ${begin} on expected before the directory at ${limit}`);
  const ownName = nameOf(source.read(nameStart, nameEnd), where);
  if (ownName !== name) refuse(`${where} calls itself ${show(ownName)}`);
  if (u16(8) !== 0 || u16(6) & ENCRYPTED)
    refuse(`${where} is stored by the directory, but not by its own header`);
  const ownSize = u32(22);
  const follows = u16(6) & flags & SIZES_FOLLOW;
  if (ownSize !== size && ownSize !== FULL32 && !(follows && ownSize === 0))
    refuse(`${where} has ${size} bytes by the directory; its own header says ${ownSize}`);
  return begin;
}

const nameOf = (bytes: Uint8Array, where: string): string =>
  decodeUtf8(bytes, { ignoreBOM: true }) ??
  refuse(`${where}: name expected UTF-8 text; got bytes that are not`);
