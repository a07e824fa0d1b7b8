/** What `quamba eval` reads and keeps: texts, task files, partial results. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../eval/evaluate.ts';
import { type PartialResult, parsePartial, type Shard } from '../eval/partial.ts';
import { readItems } from '../eval/task-files.ts';
import { type TaskName, taskNames } from '../eval/tasks.ts';
import { openFolder, writeFileAtomic } from '../formats/disk.ts';
import { parseJson } from '../formats/json.ts';
import { textFile } from '../open/node.ts';
import { namesIn, readGiven, UsageError } from './terminal.ts';

/** `piqa,arc_easy` or `all`. */
export function tasksNamed(list: string): TaskName[] {
  const names = namesIn(list, taskNames, '--task');
  const unknown = names.find(name => !(taskNames as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new UsageError(`--task '${unknown}' is not known; expected all or ${taskNames.join(', ')}`);
  return names as TaskName[];
}

/** `2/8`: shard 2 of 8, counted from 0. */
export function shardNamed(text: string): Shard {
  const [, index, count] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (index === undefined || index >= count)
    throw new UsageError(`--shard expected I/N with I from 0 to N − 1, such as 0/4; got '${text}'`);
  return { index, count };
}

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

const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

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

/** What an earlier run kept in a file, if there is one. */
export const keptIn = (path: string): PartialResult | undefined =>
  existsSync(path) ? readPartial(path) : undefined;

/** @throws Error in one sentence for what is no partial result. */
export const readPartial = (path: string): PartialResult =>
  parsePartial(parseJson(readGiven(path), path), path);

/** Measuring one item of a small model takes as little time as writing a file of ten thousand items, so not every step is written. */
const SECONDS_BETWEEN_WRITES = 2;

/** Writes a partial result to a file. While the result grows, it is written at intervals; `flush` writes the rest. */
export function partialWriter(path: string) {
  let latest: PartialResult | undefined;
  let written: number | undefined;
  const write = (): void => {
    if (!latest) return;
    writeFileAtomic(path, [new TextEncoder().encode(`${JSON.stringify(latest)}\n`)]);
    latest = undefined;
    written = performance.now();
  };
  return {
    step(partial: PartialResult): void {
      latest = partial;
      if (written === undefined || performance.now() - written > 1000 * SECONDS_BETWEEN_WRITES) write();
    },
    flush: write,
  };
}
