/**
 * What position costs: decode rate and memory against the tokens that came before, for hybrids with random weights, beside
 * llama.cpp with Q8_0. First the prefill of 128 tokens; then, at each position, rounds of a few decoded tokens, all models
 * in turn. Between positions all go on at once, unmeasured.
 *
 *   npm run build && npm install --prefix bench/peers && node bench/peers/curves.mjs
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { machine, median } from '../../dist/cli/measure.js';
import { printAs } from '../../dist/cli/terminal.js';
import { wholeFrom } from '../../dist/cli/values.js';
import { align } from '../../dist/plan/render.js';
import { configs } from '../../dist/random/shapes.js';
import { listOf, oneOf, program } from '../options.mjs';
import { picture } from './curves-plot.mjs';
import { PEERS } from './peers.mjs';
import { startPeer } from './process.mjs';

const SHAPES = Object.keys(configs);
const ENGINES = ['quamba-ssd', 'llama-q8'];
const PREFILL = 128;
const DECODED = 16;
const options = program('peers/curves.mjs', 'Decode rate and memory of hybrids against position.', [
  '',
  '--shape granite-4.0-h-1b --threads 1,2 --at 256,4096 --json',
  '--shape falcon-h1-0.5b --threads 2 --out falcon.json',
  '--from granite.json,falcon.json --plot curves.svg',
])
  .option('--shape <a,b>', 'random weights in these shapes', listOf(oneOf(SHAPES)), [
    'granite-4.0-h-350m',
    'falcon-h1-0.5b',
  ])
  .option('--only <a,b>', ENGINES.join(', '), listOf(oneOf(ENGINES)), ENGINES)
  .option('--at <a,b>', 'positions', listOf(wholeFrom(1)), [256, 1024, 4096, 8192, 16384])
  .option('--threads <a,b>', 'numbers of threads, each on its own', listOf(wholeFrom(1)), [1])
  .option('--rounds <n>', 'of which the medians count, after one to warm up', wholeFrom(1), 5)
  .option('--out <file>', 'JSON, written after each position, so that a run may be stopped')
  .option('--from <a,b>', 'show what earlier runs wrote instead', listOf(String))
  .option('--plot <file>', 'an SVG picture')
  .parse()
  .opts();

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const quamba = given => promisify(execFile)(process.execPath, [main, ...given]);
const say = text => console.error(`curves: ${text}`);
const ids = count => Array.from({ length: count }, (_, i) => (i * 7 + 3) % 256);

/** The file of a shape for llama.cpp; the float weights are removed again, since they are the largest. */
async function gguf(shape) {
  const [checkpoint, file] = [join(work, shape), join(work, `${shape}.gguf`)];
  await quamba(['bench', '--shape', shape, '--write-checkpoint', checkpoint, '--type', 'f16']);
  await quamba(['export', '--model', checkpoint, '--type', 'q8_0', '--out', file]);
  rmSync(checkpoint, { recursive: true });
  return file;
}

async function open(row) {
  row.process = startPeer();
  const context = Math.max(...options.at) + (options.rounds + 2) * DECODED * options.at.length;
  const given = { ...PEERS[row.peer], shape: row.shape, threads: row.threads, work, context };
  row.about = await row.process.call('open', { ...given, file: await files.get(row.shape) });
}

/** Tokens per second of all models in turn, `count` tokens each. */
async function rounds(count, call, put) {
  for (let round = -1; round < options.rounds; round++)
    for (const row of rows) {
      const seconds = await call(row);
      row.seen = [...(round > 0 ? row.seen : []), count / seconds];
    }
  for (const row of rows)
    put(row, { median: median(row.seen), least: Math.min(...row.seen), most: Math.max(...row.seen) });
}

async function bench() {
  say('writes weights and opens');
  await Promise.all(rows.map(open));
  const load = loadavg()[0];
  say('prefill');
  const prefill = async row => {
    await row.process.call('reset');
    return row.process.call('prefill', ids(PREFILL));
  };
  await rounds(PREFILL, prefill, (row, rate) => Object.assign(row, { prefill: rate, position: PREFILL }));
  for (const at of options.at.toSorted((a, b) => a - b)) {
    say(`position ${at}`);
    await Promise.all(rows.map(row => advance(row, at)));
    const decode = row => {
      row.position += DECODED;
      return row.process.call('decode', ids(DECODED));
    };
    await rounds(DECODED, decode, (row, rate) => row.decode.push({ at, ...rate }));
    // of quamba alone: what llama.cpp has allocated it does not tell
    for (const row of rows) row.decode.at(-1).bytes = await row.process.call('memory');
    if (options.out) writeFileSync(options.out, JSON.stringify(found(load)));
  }
  return found(load);
}

function found(load) {
  const { cpu, node, date } = machine();
  return {
    ...{ machine: `${cpu}, ${cpus().length} CPUs`, node, date, load, rounds: options.rounds },
    ...{ prompt: PREFILL, decoded: DECODED },
    rows: rows.map(({ process: _, seen: __, position: ___, ...row }) => row),
  };
}

/** Runs on one machine as one. */
function joined(files) {
  const runs = files.map(file => JSON.parse(readFileSync(file, 'utf8')));
  return { ...runs[0], rows: runs.flatMap(run => run.rows) };
}

/** Goes on to a position, in pieces, which need less memory than the whole. */
async function advance(row, at) {
  while (row.position < at) {
    const count = Math.min(512, at - row.position);
    await row.process.call('prefill', ids(count));
    row.position += count;
  }
}

/** @param {any} rate */
const spread = ({ median, least, most }) => `${median.toFixed(1)} (${least.toFixed(1)} – ${most.toFixed(1)})`;

const table = run =>
  [
    `${run.machine}; Node ${run.node}; ${run.date}; load ${run.load.toFixed(1)} before; medians (least – most) of ${run.rounds} rounds`,
    align([
      ['shape', 'threads', 'engine', `prefill of ${PREFILL}`, 'position', 'decode', 'MB'],
      ...run.rows.flatMap(({ shape, threads, peer, prefill, decode }) =>
        decode.map(({ at, bytes, ...rate }) => [
          ...[shape, `${threads}`, peer, spread(prefill), `${at}`, spread(rate)],
          bytes ? (bytes / 1e6).toFixed(0) : '',
        ]),
      ),
    ]),
  ].join('\n');

const work = mkdtempSync(join(tmpdir(), 'quamba-curves-'));
const shapes = options.from ? [] : options.shape;
const files = new Map(
  shapes.map(shape => [shape, options.only.includes('llama-q8') ? gguf(shape) : undefined]),
);
/** @type {any[]} an engine with a shape and so many threads, and what comes of it */
const rows = shapes.flatMap(shape =>
  options.threads.flatMap(threads => options.only.map(peer => ({ shape, threads, peer, decode: [] }))),
);
try {
  const run = options.from ? joined(options.from) : await bench();
  printAs(options.json, run, () => table(run));
  if (options.plot) writeFileSync(options.plot, picture(run));
} catch (error) {
  say(error.message);
  process.exitCode = 1;
} finally {
  for (const row of rows) row.process?.kill();
  rmSync(work, { recursive: true, force: true });
}
