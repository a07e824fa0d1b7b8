/**
 * One process at a time, by a file that says who holds the lock: Node has no flock. A lock that a killed process of this machine
 * left is taken over at once.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir, uptime } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { isStream, realPath } from './disk.ts';
import { inWords } from './system-call.ts';
import { orUndo, whenEnding } from './undo.ts';

/** The ids of processes have a meaning in one machine, and on Linux in one namespace of it: a container has its own. */
const HOST = [hostname(), tryTo(() => readlinkSync('/proc/self/ns/pid'))].join('/').replace(/\s/g, '-');
/** The locks of this process, with what stands in them. Its id alone does not tell, since ids are used again. */
const held = new Map<string, string>();

/** A holder that works by turns marks its lock so often, in milliseconds. One without a mark for ten times as long has gone. */
const BEAT = 6000;

/**
 * Runs `work` while no other process runs any with the same lock; waits for one that does. For work that awaits: it must not
 * compute for longer than a minute at one go. The folder of the lock must be there.
 */
export async function withLock<T>(lock: string, work: () => Promise<T>, pause = 200): Promise<T> {
  for (let [seen, since] = ['', 0]; ; await wait(pause)) {
    const holder = take(lock);
    if (holder === undefined) break;
    const state = `${holder} ${statSync(lock, { throwIfNoEntry: false })?.mtimeMs}`;
    if (state !== seen) [seen, since] = [state, performance.now()];
    else if (performance.now() - since > 10 * BEAT) putAside(lock, holder);
  }
  const isOurs = () => wordsIn(lock) === held.get(lock);
  const beat = () => isOurs() && utimesSync(lock, new Date(), new Date());
  const beating = setInterval(() => tryTo(beat), BEAT); // what removed the lock meanwhile is no error of the work
  try {
    return await orUndo(
      () => release(lock),
      async () => {
        const result = await work();
        release(lock);
        return result;
      },
    );
  } finally {
    clearInterval(beating);
  }
}

/** Runs `work` while no other process of this user on this machine writes the same path. @throws as `lockOutput` */
export async function withOutput<T>(path: string, work: () => Promise<T>): Promise<T> {
  const release = lockOutput(path);
  try {
    return await work();
  } finally {
    release();
  }
}

/**
 * Keeps other processes of this user on this machine from writing the same path. The lock lies with the system's temporary
 * files: a command that computes for an hour at one go does not see the signal that ends it, and would leave it beside the path.
 * What takes bytes as they come has no lock; and where none can be made the path is written without one.
 *
 * @returns what releases it; the end of the process does, too
 * @throws Error where another process holds it.
 */
export function lockOutput(path: string): () => void {
  if (isStream(path)) return () => {};
  const key = createHash('sha256').update(realPath(path)).digest('hex').slice(0, 32);
  const lock = join(tmpdir(), `quamba-${process.getuid?.() ?? ''}-${key}.lock`);
  let holder: string | undefined;
  try {
    holder = take(lock);
  } catch {
    return () => {};
  }
  if (holder === undefined) {
    const free = () => release(lock);
    const takeBack = whenEnding(free);
    return () => {
      takeBack();
      free();
    };
  }
  const [id, host] = holder.split(' ');
  const who = host === HOST ? `process ${id}` : `process ${id} of another machine or container, ${host}`;
  throw new Error(
    `${path}: is being written by another quamba (${who}); wait for it, or name another path (${lock} is its lock)`,
  );
}

/** @returns the words in the lock of another holder; nothing where the lock is ours now */
function take(lock: string): string | undefined {
  const words = `${process.pid} ${HOST} ${startOf(process.pid) ?? '?'} ${randomUUID()}`;
  for (;;) {
    try {
      make(lock, words);
      held.set(lock, words);
      return undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw inWords(lock, error);
    }
    const there = wordsIn(lock);
    if (there === undefined) continue; // released just now
    if (!isGone(lock, there)) return there;
    putAside(lock, there);
  }
}

/** The file with its words, or no file: on a full disk an empty one would stay. */
function make(lock: string, words: string): void {
  const fd = openSync(lock, 'wx');
  try {
    writeFileSync(fd, words);
  } catch (error) {
    rmSync(lock, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

function release(lock: string): void {
  if (wordsIn(lock) === held.get(lock)) rmSync(lock, { force: true });
  held.delete(lock);
}

function wordsIn(lock: string): string | undefined {
  try {
    return readFileSync(lock, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Whether the holder is known to have gone. Of another machine's nothing is known. */
function isGone(lock: string, words: string): boolean {
  const [id, host, start] = words.split(' ');
  const marked = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
  if (marked === undefined) return false; // released just now
  if (words === '') return Date.now() - marked > BEAT; // it was killed before it wrote its name
  if (host !== HOST) return false;
  if (Number(id) === process.pid) return held.get(lock) !== words;
  try {
    process.kill(Number(id), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
  // a process of this id there is; whether it is the same one tells its start, or that of the machine
  const now = startOf(Number(id));
  return now !== undefined ? now !== start : marked < Date.now() - 1000 * uptime();
}

/** When a process began, in ticks since the machine did: field 22 of its line. Only Linux says it. */
const startOf = (id: number): string | undefined =>
  tryTo(() => readFileSync(`/proc/${id}/stat`, 'latin1'))
    ?.replace(/^.*\) /s, '')
    .split(' ')[19];

function tryTo<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}

/** Removes the lock of one that has gone; not that of one who was faster in doing so. */
function putAside(lock: string, words: string): void {
  const aside = `${lock}.${randomUUID()}`;
  try {
    renameSync(lock, aside);
  } catch (error) {
    // on Windows a file that another process reads cannot be moved now
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || process.platform === 'win32') return;
    throw inWords(lock, error);
  }
  if (wordsIn(aside) === words) rmSync(aside);
  else renameSync(aside, lock);
}
