/**
 * The same weights in quamba and in other engines, interleaved in one run, with the error of each against float64.
 *
 *   npm run build && npm install --prefix bench/peers && node bench/peers/run.mjs
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { machine, median } from '../../dist/cli/measure.js';
import { printAs } from '../../dist/cli/terminal.js';
import { wholeFrom } from '../../dist/cli/values.js';
import { openFloatModel, openFolder } from '../../dist/index.js';
import { configs } from '../../dist/random/shapes.js';
import { writeCheckpoint } from '../../dist/random/write-checkpoint.js';
import { listOf, oneOf, program } from '../options.mjs';
import { forward } from './float64.mjs';
import { writeOnnx } from './onnx.mjs';
import { DEFAULT, PEERS } from './peers.mjs';
import { startPeer } from './process.mjs';
import { exactnessOf, table } from './report.mjs';

const CONTINUATION = 64;
const COMPARED = 32;
const NAMES = Object.keys(PEERS);
const options = program('peers/run.mjs', 'The same weights in quamba and in other engines, in turn.', [
  '',
  '--only quamba,llama-q8 --threads 2 --rounds 3',
  '--shape mamba2-130m --only quamba,llama-q8',
  '--shape granite-4.0-h-350m --only quamba-ssd,llama-q8 --prompt 4096 --rounds 1 --warm-ups 0',
  '--out bench/results/peers-my-machine.md',
])
  .option('--model <dir>', "checkpoint in Hugging Face's form, in the place of random weights")
  .option('--shape <name>', 'of random weights, made for the run', oneOf(Object.keys(configs)), 'mamba-130m')
  .option(
    '--only <a,b>',
    `peers: ${NAMES.join(', ')} (default: the first ${DEFAULT.length})`,
    listOf(oneOf(NAMES)),
  )
  .option('--rounds <n>', 'rounds, interleaved; the table shows medians', wholeFrom(1), 5)
  .option('--threads <n>', 'for every engine', wholeFrom(1), 1)
  .option('--prompt <n>', 'tokens of the prompt, after which 64 are decoded', wholeFrom(COMPARED), 128)
  .option('--warm-ups <n>', 'rounds that do not count', wholeFrom(0), 2)
  .option('--out <file>', 'write the table to a file too')
  .parse()
  .opts();

async function bench() {
  const checkpoint = options.model === undefined ? await randomCheckpoint() : resolve(options.model);
  const model = openFloatModel(openFolder(checkpoint));
  const modulus = Math.min(256, model.config.vocabSize);
  const { prompt: length, warmUps } = options;
  const ids = Array.from({ length: length + CONTINUATION }, (_, i) => (i * 7 + 3) % modulus);
  const prompt = ids.slice(0, length);
  const continuation = ids.slice(length);
  say('float64');
  const truth = forward(model, ids.slice(0, COMPARED));

  for (const row of rows) {
    say(`${row.name}: opens`);
    await attempt(row, async () => {
      row.version = versionOf(row.package);
      const file = row.file && modelFile(row.file, checkpoint, model);
      row.process = startPeer();
      const { threads } = options;
      const given = { ...PEERS[row.name], file, checkpoint, threads, work, context: ids.length };
      row.about = await row.process.call('open', given);
      row.exactness = exactnessOf(truth, await row.process.call('logits', ids.slice(0, COMPARED)));
    });
  }
  for (let round = -warmUps; round < options.rounds; round++) {
    say(round < 0 ? 'warm-up' : `round ${round + 1} of ${options.rounds}`);
    for (const row of rows)
      await attempt(row, async () => {
        const { prefill, decode } = await row.process.call('measure', prompt, continuation);
        if (round < 0) return;
        row.prefill.push(length / prefill);
        row.decode.push(CONTINUATION / decode);
      });
  }
  const whole = rows.filter(({ skipped }) => !skipped);
  for (const row of whole) await row.process.call('close').catch(() => {});
  const { layers, dModel, vocabSize } = /** @type {LanguageModelConfig} */ (model.config);
  const { cpu, node, date } = machine();
  const { threads, rounds } = options;
  return {
    ...{ machine: `${cpu}, ${cpus().length} CPUs`, node, date, threads, rounds },
    ...{ prompt: length, continuation: CONTINUATION, warmUps },
    model: `${options.model === undefined ? `${options.shape}'s shape, random weights, ` : ''}${layers} layers, d_model ${dModel}, ${vocabSize} tokens`,
    peers: whole.map(reported),
    skipped: rows.flatMap(({ name: peer, skipped: reason }) => (reason ? [{ peer, reason }] : [])),
  };
}

/** Runs one step of a peer; one that fails is skipped from then on. */
async function attempt(row, step) {
  if (row.skipped) return;
  try {
    await step();
  } catch ({ message }) {
    row.skipped = message;
    row.process?.kill();
    say(`${row.name} is skipped: it ${message}`);
  }
}

/** @import { LanguageModelConfig } from '../../dist/model/language-model.js' */

const reported = row => ({
  ...{ peer: row.name, package: row.package, version: row.version, about: row.about, weights: row.weights },
  prefillTokensPerSecond: statistics(row.prefill),
  prefillLogits: row.all ? 'all' : 'last',
  decodeTokensPerSecond: statistics(row.decode),
  ...row.exactness,
});

const say = text => console.error(`peers: ${text}`);
const here = path => fileURLToPath(new URL(path, import.meta.url));

const statistics = values => ({
  median: median(values),
  least: Math.min(...values),
  most: Math.max(...values),
});

async function randomCheckpoint() {
  const { shape } = options;
  const checkpoint = join(work, shape);
  say(`writes random weights in the shape of ${shape}`);
  await writeCheckpoint(checkpoint, configs[shape], { seed: 1, type: 'f32' });
  return checkpoint;
}

/** The file that an engine loads, written when the first one asks for it. */
function modelFile(name, checkpoint, model) {
  const path = join(work, name);
  if (existsSync(path)) return path;
  const [kind, format] = name.split('.');
  if (format === 'onnx') writeOnnx(path, model, { dq8: kind === 'dq8' });
  else exportGguf(path, checkpoint, kind);
  return path;
}

/** A failure is what the command said. */
function exportGguf(path, checkpoint, type) {
  const given = ['--type', type, '--model', checkpoint, '--out', path];
  try {
    const command = [here('../../dist/cli/main.js'), 'export', ...given];
    execFileSync(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    throw new Error(`quamba export failed: ${String(error.stderr).trim().split('\n')[0]}`);
  }
}

function versionOf(name) {
  const path = name === 'quamba' ? '../../package.json' : `node_modules/${name}/package.json`;
  try {
    return JSON.parse(readFileSync(here(path), 'utf8')).version;
  } catch {
    throw new Error('is not installed: run npm install in bench/peers');
  }
}

const work = mkdtempSync(join(tmpdir(), 'quamba-peers-'));
/** @type {any[]} the peers, and what comes of each */
const rows = (options.only ?? DEFAULT).map(name => ({ name, ...PEERS[name], prefill: [], decode: [] }));
try {
  const result = await bench();
  printAs(options.json, result, () => table(result));
  if (options.out) writeFileSync(options.out, `${table(result)}\n`);
} catch (error) {
  say(error.message);
  process.exitCode = 1;
} finally {
  for (const row of rows) row.process?.kill();
  rmSync(work, { recursive: true, force: true });
}
