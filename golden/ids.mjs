/**
 * The token ids of a text, one line, for perplexity.py:
 *
 *   node golden/ids.mjs models/mamba-books-15m models/mamba-books-15m/validation.txt.gz > validation.ids
 *
 * The whole text is tokenised at once; no special token is added. Reads .gz too.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '@huggingface/tokenizers';

const [model, text] = process.argv.slice(2);
const json = name => JSON.parse(readFileSync(`${model}/${name}`, 'utf8'));
const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'));

const bytes = readFileSync(text);
const { ids } = tokenizer.encode((text.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8'), {
  add_special_tokens: false,
});
console.log(ids.join(' '));
