/** What a process has begun to write is undone where the process ends before it is whole. */
import { setImmediate } from 'node:timers/promises';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const begun = new Set<() => void>();
const atEnd = new Set<() => void>();

/**
 * Runs `work`. Where it fails, or where exit() or a signal ends the process meanwhile, `undo` runs.
 *
 * Node sees a signal only when `work` awaits `turn()`. So nothing may compute in it for long at one go: Ctrl-C would wait.
 */
export async function orUndo<T>(undo: () => void, work: () => Promise<T>): Promise<T> {
  if (begun.size === 0) listen('on');
  begun.add(undo);
  try {
    return await work();
  } catch (error) {
    attempt(undo);
    throw error;
  } finally {
    begun.delete(undo);
    if (begun.size === 0) listen('off');
  }
}

/**
 * Runs `undo` where exit() ends the process, or a signal that `orUndo` sees. By itself it makes no signal wait.
 *
 * @returns what takes it back
 */
export function whenEnding(undo: () => void): () => void {
  if (atEnd.size === 0) process.on('exit', undoLast);
  atEnd.add(undo);
  return () => {
    if (atEnd.delete(undo) && atEnd.size === 0) process.off('exit', undoLast);
  };
}

/** A turn of the event loop, in which signals arrive. */
export const turn = (): Promise<void> => setImmediate();

function listen(how: 'on' | 'off'): void {
  for (const signal of SIGNALS) process[how](signal, end);
  process[how]('exit', undoAll);
}

function undoAll(): void {
  for (const undo of [...begun].reverse()) attempt(undo);
}

function undoLast(): void {
  for (const undo of [...atEnd].reverse()) attempt(undo);
}

/** What cannot be undone hinders nothing else, and why the work failed is what is told. */
function attempt(undo: () => void): void {
  try {
    undo();
  } catch {}
}

/** Ends the process as the signal would have, unless the program has a handler of its own: that one decides. */
function end(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  undoAll();
  undoLast();
  listen('off');
  process.kill(process.pid, signal);
}
