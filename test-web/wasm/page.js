// What anyone's page would do: fetches a model's files, opens it, feeds it. ../wasm.test.ts calls the three functions.
import { bytesOf, folderOf } from '/dist/formats/bytes.js';
import { openModel } from '/dist/open/model.js';
import { hasher } from '/dist/plan/identity.js';

const FOLDER = '/models/mamba-books-15m';
const FILES = [
  'config.json',
  'model.safetensors',
  'plan.quamba.safetensors',
  'stats.quamba-int8-head.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
];

const fetched = async file => [file, await (await fetch(`${FOLDER}/${file}`)).bytes()];
const folder = Promise.all(FILES.map(fetched)).then(files => folderOf('books', Object.fromEntries(files)));

let model;

globalThis.start = async (recipe, threads) => {
  model = await openModel(await folder, { recipe, threads });
  return { backend: model.backend, about: { ...model.executable.about } };
};

/** The hash of the logits of a text's first tokens, which are fed in two parts. */
globalThis.write = (text, positions, firstCut) => {
  const session = model.session();
  const tokens = model.tokenizer.encode(text).slice(0, positions);
  const hash = hasher();
  for (const part of [tokens.slice(0, firstCut), tokens.slice(firstCut)])
    hash.update(bytesOf(session.feed(part).data));
  return hash.hex();
};

globalThis.stop = () => model.dispose();
