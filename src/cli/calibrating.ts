/** How the commands open a model whose recipe may need calibration: they say so, show how far it is, and keep what it saw. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { makeFolder, openFile, writeFileAtomic } from '../formats/disk.ts';
import type { StatsCache } from '../open/plan.ts';
import { progressLine, tell } from './terminal.ts';
import { version } from './version.ts';

/** What one version saw is not taken by another, which may look at other things. */
const folder = (): string => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'quamba', version);

export const statsCache: StatsCache = {
  open(file) {
    const path = join(folder(), file);
    return existsSync(path) ? openFile(path) : undefined;
  },
  async write(file, chunks) {
    makeFolder(folder());
    await writeFileAtomic(join(folder(), file), chunks);
  },
};

/** Options of `load` for a command that only uses the plan. */
export function calibrating(label = 'calibrating') {
  const line = progressLine(label);
  let isTold = false;
  const onProgress = (done: number, total: number): void => {
    if (!isTold)
      tell(
        `The recipe has static scales, which are being measured on a text, and kept in ${folder()}. With the same --recipe, quamba quantize --out DIR saves a model that opens at once.`,
      );
    isTold = true;
    line(done, total);
  };
  return { cache: statsCache, onProgress, onWarning: tell };
}
