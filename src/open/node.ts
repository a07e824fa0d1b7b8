/** `load` for Node: a folder's path, or the model that comes with the package. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { openBackend } from '../backends/node.ts';
import { decodeUtf8 } from '../formats/bytes.ts';
import { openFolder } from '../formats/disk.ts';
import { object, show } from '../formats/json.ts';
import { modelFolder } from '../hub/cache.ts';
import { MODEL_OPTIONS, type Model, type ModelOptions, openModel, threadsOf } from './model.ts';
import type { CalibrationText } from './plan.ts';

/** The folder of the model that comes with the package: 14.7 M parameters, trained on public-domain books. */
export const EMBEDDED_MODEL = fileURLToPath(new URL('../../models/mamba-books-15m', import.meta.url));

/** A text file, plain or .gz. It is read when it is needed. */
export const textFile = (path: string): CalibrationText => ({
  name: basename(path),
  read: async () => {
    let bytes: Uint8Array;
    try {
      bytes = readFileSync(path);
      if (path.endsWith('.gz')) bytes = gunzipSync(bytes);
    } catch (error) {
      const why = (error as NodeJS.ErrnoException).code ?? error;
      throw new Error(`${path}: cannot be read (${why})`, { cause: error });
    }
    const text = decodeUtf8(bytes);
    if (text === undefined) throw new Error(`${path}: expected UTF-8 text; got bytes that are not`);
    return text;
  },
});

/** Public-domain prose, 2 MB: what static scales are taken from where nothing else is said. */
export const CALIBRATION_TEXT = textFile(`${EMBEDDED_MODEL}/calibration.txt.gz`);

/**
 * Loads a model: a folder with config.json, model.safetensors and tokenizer.json (see open/model.ts), or the name of one that
 * `quamba pull` fetched; by default the one that comes with the package.
 *
 *   const model = await load();
 *   for await (const { text } of model.generate('The old man')) process.stdout.write(text);
 *
 * `backend: 'cuda'` is the GPU (docs/cuda.md). There are no more threads than the machine has processors.
 *
 * @throws Error in one sentence that names the file and what is wrong with it, or why there is no such backend; TypeError or
 *   RangeError for a wrong option.
 */
export async function load(path: string | URL = EMBEDDED_MODEL, options: ModelOptions = {}): Promise<Model> {
  object(options, 'load', MODEL_OPTIONS);
  const threads = threadsOf(options, availableParallelism());
  const backend =
    typeof options.backend === 'string' ? openBackend(options.backend).backend : options.backend;
  const folder = openFolder(modelFolder(pathOf(path)));
  return openModel(folder, { text: CALIBRATION_TEXT, ...options, threads, backend });
}

function pathOf(path: string | URL): string {
  if (typeof path === 'string') return path;
  if (path instanceof URL && path.protocol === 'file:') return fileURLToPath(path);
  throw new TypeError(
    `load: expected the path of a folder, or a file: URL; got ${path instanceof URL ? path.href : show(path)}`,
  );
}
