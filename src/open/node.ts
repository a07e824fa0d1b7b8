/** `load` for Node: a folder's path, or the model that comes with the package. */
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { openBackend } from '../backends/node.ts';
import { decodeUtf8 } from '../formats/bytes.ts';
import { MOST_BYTES_AT_ONCE, openFolder, readFile } from '../formats/disk.ts';
import { show } from '../formats/json.ts';
import { MODELS, modelFolder, withoutSecrets } from '../hub/cache.ts';
import { checkOptions, type Model, type ModelOptions, openModel } from './model.ts';
import type { CalibrationText } from './plan.ts';

/**
 * The folder of the model that comes with the package: 14.7 M parameters, trained on public-domain books. Its path is not
 * written as `new URL(…, import.meta.url)`, for which bundlers look for a module.
 */
export const EMBEDDED_MODEL = join(MODELS, 'mamba-books-15m');

/** A text file, plain or .gz, or a pipe. It is read when it is needed, and once. */
export function textFile(path: string): CalibrationText {
  let text: string | undefined; // a pipe gives it only once
  return { name: basename(path), read: async () => (text ??= readText(path)) };
}

function readText(path: string): string {
  const bytes = readFile(path);
  const text = decodeUtf8(path.endsWith('.gz') ? unzipped(bytes, path) : bytes);
  if (text === undefined) throw new Error(`${path}: expected UTF-8 text; got bytes that are not`);
  return text;
}

function unzipped(bytes: Uint8Array, path: string): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MOST_BYTES_AT_ONCE });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === 'ERR_BUFFER_TOO_LARGE'
        ? `expected a text of at most ${MOST_BYTES_AT_ONCE} bytes; it unzips to more`
        : `expected a gzip file (${code})`;
    throw new Error(`${path}: ${why}`, { cause: error });
  }
}

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
  checkOptions(options);
  const backend =
    typeof options.backend === 'string' ? openBackend(options.backend).backend : options.backend;
  const folder = openFolder(modelFolder(pathOf(path)));
  return openModel(folder, { text: CALIBRATION_TEXT, ...options, backend });
}

function pathOf(path: string | URL): string {
  if (typeof path === 'string') return path;
  if (path instanceof URL && path.protocol === 'file:') return fileURLToPath(path);
  throw new TypeError(
    `load: expected the path of a folder, or a file: URL; got ${path instanceof URL ? withoutSecrets(path) : show(path)}`,
  );
}
