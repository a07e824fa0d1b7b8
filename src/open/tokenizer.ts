/** The tokenizer of a model's folder. */
import type { Folder } from '../formats/bytes.ts';
import { readJson } from '../formats/json.ts';
import { createTokenizer, type Tokenizer } from '../formats/tokenizer.ts';
import type { Config } from '../model/architecture.ts';

/** Where there is no tokenizer.json, one that refuses texts. */
export function openTokenizer(folder: Folder, config: Config): Tokenizer {
  const files = folder.list();
  if (!files.includes('tokenizer.json')) return idsOnly(folder, config);
  const about = files.includes('tokenizer_config.json')
    ? readJson(folder, 'tokenizer_config.json')
    : undefined;
  return createTokenizer(readJson(folder, 'tokenizer.json'), about, `${folder.name}/tokenizer.json`);
}

/** What a model without tokenizer.json has: it can be fed ids and gives ids. */
const idsOnly = (folder: Folder, { vocabSize, eosTokenId }: Config): Tokenizer => ({
  vocabSize,
  eosTokenId,
  encode() {
    throw new Error(`${folder.name}: has no tokenizer.json; give token ids instead of a text`);
  },
  decode: () => '',
  stream: () => ({ push: () => '', end: () => '' }),
});
