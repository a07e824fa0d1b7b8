/** Texts are prepared as Python prepares them (golden/python_text.py), where JavaScript's classes and cases differ. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { request } from '../../src/eval/likelihood.ts';
import { capitalize, rstrip, strip } from '../../src/eval/python-text.ts';
import { hellaswag, winogrande } from '../../src/eval/tasks.ts';
import type { Tokenizer } from '../../src/formats/tokenizer.ts';

const file = new URL('../../golden/python-text/texts.json', import.meta.url);
const { texts }: { texts: string[][] } = JSON.parse(readFileSync(file, 'utf8'));
/** A token for each code unit. */
const tokenizer = {
  eosTokenId: 0,
  encode: (text: string) => Int32Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)),
} as Tokenizer;

it('rstrip, and so where a context ends', () => {
  for (const [text, stripped] of texts) {
    expect(rstrip(text)).toBe(stripped);
    expect(request(tokenizer, `x${text}`, 'yz').scored).toBe(2 + text.length - stripped.length);
  }
});

it('strip', () => {
  for (const [text, , stripped] of texts) expect(strip(text)).toBe(stripped);
});

it('capitalize', () => {
  for (const [text, , , capitalized] of texts) expect([text, capitalize(text)]).toEqual([text, capitalized]);
});

it('HellaSwag', () => {
  for (const [text, , , , context, ending] of texts)
    expect(hellaswag('A', 'b', text, [text], 0).choices[0]).toMatchObject({
      context,
      continuation: ` ${ending}`,
    });
});

it('WinoGrande', () => {
  const [{ continuation }] = winogrande('The _\ufeffran\x85', ['cat', 'dog'], 0).choices;
  expect(continuation).toBe(' \ufeffran');
});
