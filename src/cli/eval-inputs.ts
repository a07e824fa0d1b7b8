/** What `quamba eval` reads and keeps: texts, task files, partial results. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../eval/evaluate.ts';
import { type PartialResult, parsePartial } from '../eval/partial.ts';
import { readItems } from '../eval/task-files.ts';
import type { TaskName } from '../eval/tasks.ts';
import { isFolder, openFolder, writeFileAtomic } from '../formats/disk.ts';
import { parseJson } from '../formats/json.ts';
import { lockOutput } from '../formats/lock.ts';
import { EMBEDDED_MODEL, textFile } from '../open/node.ts';
import { readGiven } from './terminal.ts';

/** Books that the embedded model never saw, 1 MB. */
export const VALIDATION_TEXT = textFile(`${EMBEDDED_MODEL}/validation.txt.gz`);

/** The items of one task, the first `limit` of them; `sha256` is of the file. */
export async function taskItems(task: TaskName, data: string, limit?: number) {
  const path = isFolder(data) ? fileFor(task, data) : data;
  const text = await textFile(path).read();
  const labels = path.replace(/\.jsonl?(\.gz)?$/, '-labels.lst');
  const items = readItems(task, {
    name: path,
    text,
    labels: labels !== path && existsSync(labels) ? await textFile(labels).read() : undefined,
  });
  return { task, items: items.slice(0, limit), sha256: sha256(text) };
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

/** In a folder the file of a task has the task's name: arc_easy.jsonl, hellaswag.txt.gz. */
function fileFor(task: TaskName, folder: string): string {
  const found = readdirSync(folder).filter(
    file => /^\.(?:jsonl?|txt)(?:\.gz)?$/.test(file.slice(task.length)) && file.startsWith(task),
  );
  if (found.length !== 1)
    throw new Error(
      `${folder}: expected one file ${task}.jsonl, .json or .txt (or .gz of it); got ${found.length ? found.join(', ') : 'none'}`,
    );
  return join(folder, found[0]);
}

/** The bytes of the weights in a model's folder, as they are stored. */
export const weightBytes = (folder: string): number =>
  openFolder(folder)
    .list()
    .filter(file => /^(?:pytorch_)?model.*\.(?:safetensors|bin)$/.test(file))
    .reduce((sum, file) => sum + statSync(join(folder, file)).size, 1);

/** @throws Error in one sentence for what is no partial result. */
export const readPartial = (path: string): PartialResult =>
  parsePartial(parseJson(readGiven(path), path, Number.POSITIVE_INFINITY), path);

/** Measuring one item of a small model takes as little time as writing a file of ten thousand items, so not every step is written. */
const SECONDS_BETWEEN_WRITES = 2;

/**
 * A file of partial results, and what an earlier run kept in it. While a result grows, it is written at intervals; `close`
 * writes the rest. Until then no other run may keep its results there.
 */
export function partialFile(path: string) {
  const release = lockOutput(path);
  const readEarlier = () => {
    try {
      return isFile(path) ? { partial: readPartial(path), name: path } : undefined;
    } catch (error) {
      release();
      throw error;
    }
  };
  let latest: PartialResult | undefined;
  let written: number | undefined;
  const write = async (): Promise<void> => {
    if (!latest) return;
    await writeFileAtomic(path, [new TextEncoder().encode(`${JSON.stringify(latest)}\n`)]);
    latest = undefined;
    written = performance.now();
  };
  return {
    earlier: readEarlier(),
    async step(partial: PartialResult): Promise<void> {
      latest = partial;
      if (written === undefined || performance.now() - written > 1000 * SECONDS_BETWEEN_WRITES) await write();
    },
    async close(): Promise<void> {
      try {
        await write();
      } finally {
        release();
      }
    },
  };
}
