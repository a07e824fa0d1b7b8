/** The tokenizer of a model's folder. */
import type { Folder } from '../formats/bytes.ts';
import { isSize, object, readJson } from '../formats/json.ts';
import { createTokenizer, type Tokenizer } from '../formats/tokenizer.ts';
import type { Config } from '../model/architecture.ts';
import { fields } from '../model/fields.ts';

/** Where there is no tokenizer.json, one that refuses texts. */
export function openTokenizer(folder: Folder, config: Config): Tokenizer {
  const files = folder.list();
  const ends = endsIn(folder, config);
  if (!files.includes('tokenizer.json')) return idsOnly(folder, config, ends);
  const about = files.includes('tokenizer_config.json')
    ? readJson(folder, 'tokenizer_config.json')
    : undefined;
  return createTokenizer(readJson(folder, 'tokenizer.json'), about, `${folder.name}/tokenizer.json`, ends);
}

/** The files that name ends of a text by id: one, or a list of them, of which each ends it. */
const NAME_ENDS = ['config.json', 'generation_config.json'];

function endsIn(folder: Folder, { eosTokenId, vocabSize }: Config): readonly number[] {
  const named = NAME_ENDS.filter(file => folder.list().includes(file)).flatMap(file => {
    const where = `${folder.name}/${file}`;
    const { at, may } = fields(object(readJson(folder, file), where), where);
    may('eos_token_id', 'a token id, or an array of them', v => [v].flat().every(isSize));
    const inside = (v: unknown) => [v].flat().every(id => (id as number) < vocabSize);
    may('eos_token_id', `a token id of 0 … ${vocabSize - 1}, or an array of them`, inside);
    return (at('eos_token_id') ?? []) as number | number[];
  });
  // a quantized checkpoint may lie there without the config that it was made from
  const made = [eosTokenId ?? []].flat().filter(id => id < vocabSize);
  return [...new Set([...named, ...made])];
}

/** What a model without tokenizer.json has: it can be fed ids and gives ids. */
const idsOnly = (folder: Folder, { vocabSize }: Config, endTokenIds: readonly number[]): Tokenizer => ({
  vocabSize,
  eosTokenId: endTokenIds[0],
  endTokenIds,
  has: id => id < vocabSize,
  encode() {
    throw new Error(`${folder.name}: has no tokenizer.json; give token ids instead of a text`);
  },
  decode: () => '',
  bytesOf: () => new Uint8Array(0),
  stream: () => ({ push: () => '', end: () => '' }),
});
