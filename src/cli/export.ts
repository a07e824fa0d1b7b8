/** `quamba export`: a float model in the file format of another engine. */

import { basename, dirname, join, resolve } from 'node:path';
import { sizeWords } from '../eval/report/words.ts';
import { type Folder, using } from '../formats/bytes.ts';
import { isStdout, openFolder, realPath, writeFileAtomic } from '../formats/disk.ts';
import { readJson } from '../formats/json.ts';
import { withOutput } from '../formats/lock.ts';
import { writeGguf } from '../gguf/file.ts';
import { ggufOf, storage } from '../gguf/model.ts';
import { placeholderVocabulary, vocabularyOf } from '../gguf/vocabulary.ts';
import { modelName } from '../hub/cache.ts';
import { type FloatModel, openFloatModel } from '../open/float.ts';
import { openTokenizer } from '../open/tokenizer.ts';
import { isPlan } from '../quant/checkpoint.ts';
import { command, namesOf, type OptionsOf, option, required } from './command.ts';
import { jsonOption, modelOption, outFile } from './options.ts';
import { printAs, progressLine, tell, UsageError } from './terminal.ts';

const OPTIONS = [
  required(outFile('--out <file>', 'file to write')),
  modelOption,
  option('--format <name>', 'file format', ['gguf'], 'gguf'),
  option(
    '--type <name>',
    'how matrices are stored; vectors, the convolution, A and D stay f32',
    namesOf(storage),
    'f32',
  ),
  jsonOption,
] as const;

export const exportCommand = command(
  'export',
  'Writes a float model as a file that another engine loads: GGUF, for llama.cpp.',
  OPTIONS,
  `
f32 loses nothing, f16 rounds, q8_0 keeps 8 bits and a scale for 32 values. The tokenizer.json goes into the file; a folder
without one gets a vocabulary in which the text [17] is token 17.

Examples:
  quamba export --type q8_0 --out mamba-books-15m.gguf
  quamba export --format gguf --type f16 --model mamba-130m-hf --out mamba-130m.gguf`,
).action(exportModel);

async function exportModel(options: OptionsOf<typeof OPTIONS>): Promise<void> {
  const { out, model: path, format, type, json } = options;
  const folder = openFolder(path);
  const isInside = realPath(dirname(resolve(out))) === realPath(path);
  const sources = folder.list().filter(file => SOURCES.test(file));
  if (
    (isInside && SOURCES.test(basename(out))) ||
    sources.some(file => realPath(join(path, file)) === realPath(out))
  )
    throw new UsageError(`export: --out ${out} is a file of the model itself`);
  if (folder.list().includes('model.safetensors') && using(folder, 'model.safetensors', isPlan))
    throw new Error(`${path}: is quantized already; export takes the folder of the float model`);
  await withOutput(out, async () => {
    const model = openFloatModel(folder);
    try {
      const { config, checkpoint } = model;
      const { metadata, tensors } = ggufOf(config, checkpoint, type, modelName(path), `${path}/config.json`);
      const vocabulary = vocabularyFor(folder, model);
      const gguf = { metadata: { ...metadata, ...vocabulary.keys }, tensors };
      let bytes = 0;
      const counted = function* () {
        for (const chunk of writeGguf(gguf, progressLine('writing tensor'))) {
          bytes += chunk.length;
          yield chunk;
        }
      };
      await writeFileAtomic(out, counted());
      const stored = Object.values(tensors).map(tensor => tensor.type.toLowerCase());
      const count = stored.length;
      const types: Record<string, number> = {};
      for (const one of stored) types[one] = (types[one] ?? 0) + 1;
      const report = { out, format, type, bytes, tensors: count, types, vocabulary: vocabulary.source };
      const inTypes = Object.entries(types).map(([one, many]) => `${many} in ${one}`);
      const words = `${sizeWords(bytes)}, ${count} tensors, ${inTypes.join(', ')}, vocabulary of ${vocabulary.source}`;
      if (isStdout(out)) tell(json ? JSON.stringify(report) : `${out}: ${words}`);
      else printAs(json, report, () => `${out}: ${words}`);
    } finally {
      model.close();
    }
  });
}

/** What a model folder is made of. */
const SOURCES = /\.(?:safetensors|json)$/;

function vocabularyFor(folder: Folder, { config }: FloatModel) {
  const rows = config.vocabSize;
  // the config of a Mamba that names no end of text has 0 (transformers, MambaConfig)
  const eosTokenId = openTokenizer(folder, config).eosTokenId ?? 0;
  if (!folder.list().includes('tokenizer.json'))
    return { source: 'placeholders', keys: placeholderVocabulary({ rows, eosTokenId }) };
  const file = `${folder.name}/tokenizer.json`;
  const json = readJson(folder, 'tokenizer.json');
  return { source: 'tokenizer.json', keys: vocabularyOf(json, file, { rows, eosTokenId }) };
}
