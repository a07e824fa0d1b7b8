/**
 * One file of the hub into the cache: whole, or not under its name. What came before a break stays as `….incomplete`, and the
 * next attempt, or the next run, goes on from there; a sum over all of it decides at the end.
 *
 * Why not `downloadFileToCacheDir` of @huggingface/hub (2.17.5), which has the same cache layout. Tried on a stand-in for the hub:
 * it checks neither the sum nor the length (wrong bytes, and a third of the bytes, became the blob of the right sum, without an
 * error); it begins anew after a break; of two downloads of one file at once, one fails (ENOENT); it reports no progress, and
 * prints to stdout, where our `--json` goes.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder } from '../formats/disk.ts';
import { withLock } from '../formats/lock.ts';
import { type Answer, type Attempts, beforeNext, HubFailure, LIMITS, reasonOf } from './request.ts';

export interface RemoteFile {
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** Of the bytes: sha256 for a large file, git's sha1 of the blob for a small one. */
  readonly sum: { readonly kind: 'sha256' | 'git-sha1'; readonly hex: string };
  /** Asks for its bytes from `begin` on. */
  request(begin: number): Promise<Answer>;
}

export interface DownloadOptions extends Attempts {
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * One process at a time fetches a file; another that wants it waits, and finds it there.
 *
 * @param what begins the complaints.
 * @returns whether anything had to be fetched.
 * @throws Error in one sentence.
 */
export async function download(
  what: string,
  file: RemoteFile,
  path: string,
  options: DownloadOptions = {},
): Promise<boolean> {
  const isThere = () => sizeOf(path) === file.size;
  if (isThere()) return false;
  makeFolder(dirname(path));
  return withLock(`${path}.lock`, async () => {
    if (isThere()) return false;
    await fetchWhole(what, file, path, options);
    return true;
  });
}

async function fetchWhole(
  what: string,
  file: RemoteFile,
  path: string,
  { onProgress, ...options }: DownloadOptions,
): Promise<void> {
  const partial = `${path}.incomplete`;
  const { least } = options.limits ?? LIMITS;
  let failed = 0;
  for (let restarted = false; ; ) {
    if ((sizeOf(partial) ?? 0) > file.size) rmSync(partial);
    const had = sizeOf(partial) ?? 0;
    try {
      await fetchRest(what, file, partial, onProgress);
    } catch (error) {
      if (!(error instanceof HubFailure))
        throw new Error(`${what}: cannot be written (${reasonOf(error)})`, { cause: error });
      const brought = (sizeOf(partial) ?? 0) - had >= least;
      failed = brought ? 0 : failed + 1;
      await beforeNext(error, failed, options);
      continue;
    }
    const found = await sumOf(partial, file);
    if (found === file.sum.hex) break;
    rmSync(partial);
    // The first part may be of another day; what came in one go cannot be mended by asking again.
    if (had === 0 || restarted)
      throw new Error(
        `${what}: expected ${file.sum.kind} ${file.sum.hex}; what came has ${found}, and was removed`,
      );
    restarted = true;
  }
  renameSync(partial, path);
}

const sizeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size;

async function fetchRest(
  what: string,
  file: RemoteFile,
  partial: string,
  onProgress: DownloadOptions['onProgress'],
): Promise<void> {
  let done = sizeOf(partial) ?? 0;
  onProgress?.(done, file.size);
  if (done === file.size && existsSync(partial)) return;
  const { status, body } = await file.request(done);
  const target: FileHandle = await open(partial, 'a');
  try {
    if (status !== 206 && done > 0) {
      // a server without ranges begins anew
      await target.truncate(0);
      done = 0;
    }
    for await (const chunk of body) {
      done += chunk.length;
      if (done > file.size) throw new HubFailure(`${what}: expected ${file.size} bytes; more came`, false);
      await target.writeFile(chunk);
      onProgress?.(done, file.size);
    }
    await target.sync();
  } finally {
    await target.close();
  }
  if (done < file.size) throw new HubFailure(`${what}: ends after ${done} of ${file.size} bytes`, true);
}

async function sumOf(path: string, { size, sum }: RemoteFile): Promise<string> {
  const hash = createHash(sum.kind === 'sha256' ? 'sha256' : 'sha1');
  if (sum.kind === 'git-sha1') hash.update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}
