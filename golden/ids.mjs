/**
 * The token ids of a text, one line, for perplexity.py and evaluation.py:
 *
 *   node golden/ids.mjs models/mamba-books-15m models/mamba-books-15m/validation.txt.gz > validation.ids
 *   node golden/ids.mjs models/mamba-books-15m texts.json > texts.ids          an array of texts: a line for each
 *
 * The whole text is tokenised at once; no special token is added. Reads .gz too.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Tokenizer } from '@huggingface/tokenizers';

const [model, file] = process.argv.slice(2);
const json = name => JSON.parse(readFileSync(`${model}/${name}`, 'utf8'));
const tokenizer = new Tokenizer(json('tokenizer.json'), json('tokenizer_config.json'));

const bytes = readFileSync(file);
const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
for (const one of file.endsWith('.json') ? JSON.parse(text) : [text])
  console.log(tokenizer.encode(one, { add_special_tokens: false }).ids.join(' '));
