/**
 * Tokens for each second on the embedded model, every backend and recipe: medians of interleaved rounds, so that a busy
 * moment of the machine falls on all alike. `ratio` is the median of the rounds' own: decode against that of the first row.
 *
 *   npm run build && node bench/tokens.mjs --help
 */
import { machine, median, rate } from '../dist/cli/measure.js';
import { table } from '../dist/eval/report/tables.js';
import { load } from '../dist/index.js';
import { align } from '../dist/plan/render.js';
import { readOptions } from './options.mjs';

const HELP = `node bench/tokens.mjs [options]

  --recipe a,b     rows of the recipe table (default fp32,quamba)
  --backend a,b    reference, wasm (default: both)
  --rounds N       rounds, interleaved; medians are printed (default 5)
  --threads 1,2    of wasm: a row for each (default 1)
  --json           print JSON instead of the table

Examples:
  node bench/tokens.mjs
  node bench/tokens.mjs --threads 1,2 --rounds 9 --json
  node bench/tokens.mjs --recipe quamba,quamba-plus,dynamic-rotated-rows --backend wasm --rounds 41`;

/** Tokens of one measurement: the reference is some thirty times slower. */
const sizes = { reference: { prefill: 32, decode: 16 }, wasm: { prefill: 512, decode: 128 } };
const TEXT = 'The old man looked out of the window and saw a ship upon the sea. '.repeat(32);

const { values, count, counts, fail } = readOptions('tokens', HELP, {
  recipe: { type: 'string', default: 'fp32,quamba' },
  backend: { type: 'string', default: Object.keys(sizes).join(',') },
  rounds: { type: 'string', default: '5' },
  threads: { type: 'string', default: '1' },
});
const rounds = count('rounds');
const unknown = values.backend.split(',').find(name => !Object.hasOwn(sizes, name));
if (unknown !== undefined) fail(`--backend expected ${Object.keys(sizes).join(', ')}; got '${unknown}'`);
const rows = [];
for (const recipe of values.recipe.split(','))
  for (const backend of values.backend.split(','))
    for (const threads of backend === 'wasm' ? counts('threads') : [1])
      rows.push(await open(recipe, backend, threads));

for (let round = -1; round < rounds; round++)
  for (const { backend, session, text, prefill, decode } of rows) {
    const { prefill: many, decode: steps } = sizes[backend];
    session.reset();
    const whole = rate(many, () => session.feed(text.slice(0, many), { logits: 'last' }));
    const single = rate(steps, () => {
      for (let i = 0; i < steps; i++) session.feed([text[i]]);
    });
    if (round < 0) continue; // warm-up
    prefill.push(whole);
    decode.push(single);
  }

const report = {
  ...machine(),
  rounds,
  rows: rows.map(({ recipe, backend, threads, seconds, prefill, decode }) => ({
    recipe,
    backend,
    threads,
    prefillTokensPerSecond: median(prefill),
    decodeTokensPerSecond: median(decode),
    decodeRatio: median(decode.map((speed, round) => speed / rows[0].decode[round])),
    firstTokenSeconds: seconds,
  })),
};
/** @type {[title: string, cell: (row: any) => string | undefined][]} */
const columns = [
  ['recipe', row => row.recipe],
  ['backend', row => row.backend],
  ['threads', row => `${row.threads}`],
  ['prefill/s', row => row.prefillTokensPerSecond.toFixed(1)],
  ['decode/s', row => row.decodeTokensPerSecond.toFixed(1)],
  ['ratio', row => row.decodeRatio.toFixed(3)],
  ['first token after', row => `${row.firstTokenSeconds.toFixed(2)} s`],
];
console.log(values.json ? JSON.stringify(report) : align(table(report.rows, columns)));
for (const { model } of rows) model.dispose();

/** Loads the model and feeds it a token. */
async function open(recipe, backend, threads) {
  const start = performance.now();
  const model = await load(undefined, { recipe, backend, threads }).catch(({ message }) => fail(message));
  const session = model.session();
  const text = model.tokenizer.encode(TEXT);
  session.feed(text.slice(0, 1));
  const seconds = (performance.now() - start) / 1000;
  return { recipe, backend, threads, model, session, text, seconds, prefill: [], decode: [] };
}
