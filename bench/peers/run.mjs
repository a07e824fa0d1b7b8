/**
 * The same weights in quamba and in other engines, interleaved in one run, with the error of each against float64.
 *
 *   npm run build && npm install --prefix bench/peers && node bench/peers/run.mjs
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { machine } from '../../dist/cli/measure.js';
import { openFloatModel, openFolder } from '../../dist/index.js';
import { readOptions } from '../options.mjs';
import { forward } from './float64.mjs';
import { writeOnnx } from './onnx.mjs';
import { DEFAULT, PEERS } from './peers.mjs';
import { startPeer } from './process.mjs';
import { errors, table } from './report.mjs';

const PROMPT = 128;
const CONTINUATION = 64;
const COMPARED = 32;
const WARM_UPS = 2;
const HELP = `node bench/peers/run.mjs [options]

  --model DIR     checkpoint in Hugging Face's form (default: mamba-130m's shape with random weights, made for the run)
  --only a,b      peers: ${Object.keys(PEERS).join(', ')}
                  (default: the first ${DEFAULT.length})
  --rounds N      rounds, interleaved; the table shows medians (default 5)
  --threads N     for every engine (default 1)
  --json          print JSON instead of the table
  --out FILE      write the table to a file too

Examples:
  node bench/peers/run.mjs
  node bench/peers/run.mjs --only quamba,llama-q8 --threads 2 --rounds 3
  node bench/peers/run.mjs --out bench/results/peers-my-machine.md`;

function optionsGiven() {
  const { values, fail, count } = readOptions('peers', HELP, {
    model: { type: 'string' },
    only: { type: 'string', default: DEFAULT.join(',') },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '1' },
    out: { type: 'string' },
  });
  const only = values.only.split(',');
  const unknown = only.find(name => !Object.hasOwn(PEERS, name));
  if (unknown !== undefined) fail(`--only expected of ${Object.keys(PEERS).join(', ')}; got '${unknown}'`);
  return { ...values, only, rounds: count('rounds'), threads: count('threads') };
}

async function bench() {
  const checkpoint = options.model === undefined ? randomCheckpoint() : resolve(options.model);
  const model = openFloatModel(openFolder(checkpoint));
  const modulus = Math.min(256, model.config.vocabSize);
  const ids = Array.from({ length: PROMPT + CONTINUATION }, (_, i) => (i * 7 + 3) % modulus);
  const prompt = ids.slice(0, PROMPT);
  const continuation = ids.slice(PROMPT);
  say('float64');
  const truth = forward(model, ids.slice(0, COMPARED));

  const rows = [];
  const skipped = [];
  const skip = (name, reason) => {
    skipped.push({ peer: name, reason });
    say(`${name} is skipped: it ${reason}`);
    running.get(name)?.kill();
    running.delete(name);
  };
  /** Runs one step of a peer; one that fails is skipped from then on. */
  const attempt = async (row, step) => {
    if (skipped.some(({ peer }) => peer === row.name)) return;
    try {
      await step(running.get(row.name));
    } catch (error) {
      skip(row.name, error.message);
    }
  };
  for (const name of options.only) {
    const row = { name, ...PEERS[name], prefill: [], decode: [] };
    rows.push(row);
    say(`${name}: opens`);
    await attempt(row, async () => {
      row.version = versionOf(row.package);
      const file = row.file && modelFile(row.file, checkpoint, model);
      running.set(name, startPeer());
      const { threads } = options;
      row.about = await running.get(name).call('open', { ...row, file, checkpoint, threads, work });
    });
    await attempt(row, async peer =>
      Object.assign(row, errors(truth, await peer.call('logits', ids.slice(0, COMPARED)))),
    );
  }
  for (let round = -WARM_UPS; round < options.rounds; round++) {
    say(round < 0 ? 'warm-up' : `round ${round + 1} of ${options.rounds}`);
    for (const row of rows)
      await attempt(row, async peer => {
        const { prefill, decode } = await peer.call('measure', prompt, continuation);
        if (round < 0) return;
        row.prefill.push(PROMPT / prefill);
        row.decode.push(CONTINUATION / decode);
      });
  }
  for (const peer of running.values()) await peer.call('close').catch(() => {});
  const { layers, dModel, vocabSize } = /** @type {MambaConfig} */ (model.config);
  const { cpu, node, date } = machine();
  const { threads, rounds } = options;
  return {
    ...{ machine: `${cpu}, ${cpus().length} CPUs`, node, date, threads, rounds },
    ...{ prompt: PROMPT, continuation: CONTINUATION, warmUps: WARM_UPS },
    model: `${options.model === undefined ? 'random weights, ' : ''}${layers} layers, d_model ${dModel}, ${vocabSize} tokens`,
    peers: rows.filter(({ name }) => !skipped.some(({ peer }) => peer === name)).map(reported),
    skipped,
  };
}

/** @import { MambaConfig } from '../../dist/model/mamba.js' */

const reported = row => ({
  ...{ peer: row.name, package: row.package, version: row.version },
  ...(row.about && { about: row.about }),
  weights: row.weights,
  prefillTokensPerSecond: statistics(row.prefill),
  prefillLogits: row.all ? 'all' : 'last',
  decodeTokensPerSecond: statistics(row.decode),
  ...{ relativeL2: row.error, argmaxEqual: row.argmax, comparedPositions: row.compared },
});

const say = text => console.error(`peers: ${text}`);
const here = path => fileURLToPath(new URL(path, import.meta.url));

function statistics(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1], least: sorted[0], most: sorted.at(-1) };
}

/** Runs a command of quamba's; a failure is what it said. */
function quamba(...args) {
  try {
    const main = here('../../dist/cli/main.js');
    execFileSync(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    throw new Error(`quamba ${args[0]} failed: ${String(error.stderr).trim().split('\n')[0]}`);
  }
}

function randomCheckpoint() {
  const checkpoint = join(work, 'mamba-130m');
  say('writes random weights in the shape of mamba-130m');
  quamba('bench', '--shape', 'mamba-130m', '--write-checkpoint', checkpoint);
  return checkpoint;
}

/** The file that an engine loads, written when the first one asks for it. */
function modelFile(name, checkpoint, model) {
  const path = join(work, name);
  if (written.has(path)) return path;
  const [kind, format] = name.split('.');
  if (format === 'onnx') writeOnnx(path, model, { dq8: kind === 'dq8' });
  else quamba('export', '--format', 'gguf', '--type', kind, '--model', checkpoint, '--out', path);
  written.add(path);
  return path;
}

function versionOf(name) {
  const path = name === 'quamba' ? '../../package.json' : `node_modules/${name}/package.json`;
  try {
    return JSON.parse(readFileSync(here(path), 'utf8')).version;
  } catch {
    throw new Error('is not installed: run npm install in bench/peers');
  }
}

const options = optionsGiven();
const work = mkdtempSync(join(tmpdir(), 'quamba-peers-'));
const running = new Map();
const written = new Set();
try {
  const result = await bench();
  if (options.json) console.log(JSON.stringify(result));
  else console.log(table(result));
  if (options.out) writeFileSync(options.out, `${table(result)}\n`);
} catch (error) {
  say(error.message);
  process.exitCode = 1;
} finally {
  for (const peer of running.values()) peer.kill();
  rmSync(work, { recursive: true, force: true });
}
