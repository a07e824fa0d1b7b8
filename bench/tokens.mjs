/**
 * Tokens for each second on the embedded model, every backend and recipe: medians of interleaved rounds, so that a busy
 * moment of the machine falls on all alike.
 *
 *   npm run build && node bench/tokens.mjs [rounds]
 */
import { backends, load } from '../dist/index.js';

const rounds = Number(process.argv[2] ?? 5);
const recipes = ['fp32', 'quamba'];
/** Tokens of one measurement: the reference is some thirty times slower. */
const sizes = { reference: { prefill: 32, decode: 16 }, wasm: { prefill: 512, decode: 128 } };

const rows = [];
for (const recipe of recipes)
  for (const backend of Object.keys(backends)) {
    const start = performance.now();
    const model = await load(undefined, { recipe, backend });
    const session = model.session();
    const text = model.tokenizer.encode(
      'The old man looked out of the window and saw a ship upon the sea. '.repeat(32),
    );
    session.feed(text.slice(0, 1));
    const seconds = (performance.now() - start) / 1000;
    rows.push({ recipe, backend, session, text, seconds, prefill: [], decode: [] });
  }

for (let round = -1; round < rounds; round++)
  for (const { backend, session, text, prefill, decode } of rows) {
    const { prefill: many, decode: steps } = sizes[backend];
    session.reset();
    const whole = rate(many, () => session.feed(text.slice(0, many)));
    const single = rate(steps, () => {
      for (let i = 0; i < steps; i++) session.feed([text[i]]);
    });
    if (round < 0) continue; // warm-up
    prefill.push(whole);
    decode.push(single);
  }

for (const { recipe, backend, seconds, prefill, decode } of rows)
  console.log(
    `${recipe.padEnd(8)} ${backend.padEnd(10)} prefill ${median(prefill).padStart(7)} decode ${median(decode).padStart(7)} ` +
      `tokens/s; first token after ${seconds.toFixed(2)} s`,
  );

function rate(tokens, work) {
  const start = performance.now();
  work();
  return tokens / ((performance.now() - start) / 1000);
}

function median(values) {
  return values.sort((a, b) => a - b)[values.length >> 1].toFixed(1);
}
