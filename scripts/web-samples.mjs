// Small files of real values for the lessons, to web/public/samples: what one block of the embedded model computes for a short text,
// and the first block of three plans. scripts/web-assets.mjs calls this.
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openFloatModel, openFolder, openModel, writeSafetensors } from '../dist/index.js';
import { align, cells, rows } from '../dist/plan/render.js';
import { interpret } from '../dist/run.js';
import { sizeOf } from '../dist/tensor.js';

const from = 'models/mamba-books-15m';
const to = 'web/public/samples';

/** The one whose y has the largest crest factor, after the first ones. */
const LAYER = 7;
const TOKENS = 96;
/** Of out_proj, the first rows: enough to see what rounding does to a product. */
const OUTPUTS = 64;
const TEXT =
  'The old man sat at the window and looked out over the harbour. The boats were late. His daughter put down her book and ' +
  'told him that they had been late yesterday too, and had come home all the same. He shook his head, for the wind had ' +
  'turned in the night, and the sky above the hills was as grey as iron. Then a bell rang on the quay, and both of them ' +
  'ran to the door without a word. Far out, beyond the lighthouse, they saw three sails.';

const time = path => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const made = Math.min(time(`${to}/layer.safetensors`), time(`${to}/layer.json`), time(`${to}/plans.json`));
if (made < Math.max(time(fileURLToPath(import.meta.url)), time(`${from}/model.safetensors`))) {
  mkdirSync(to, { recursive: true });
  const { tokenizer, dispose } = await openModel(openFolder(from));
  dispose();
  writeLayer(tokenizer);
  await writePlans(['fp32', 'naive-static', 'quamba']);
}

/** @param {import('../dist/index.js').Tokenizer} tokenizer */
function writeLayer(tokenizer) {
  const { program, close } = openFloatModel(openFolder(from));
  const ids = Int32Array.from(tokenizer.encode(TEXT)).slice(0, TOKENS);
  /** @type {Record<string, { shape: readonly number[], data: Float32Array }>} */
  const seen = {};
  const prefix = `layers.${LAYER}.`;
  interpret(program)
    .open()
    .feed(ids, {
      observe: (_, ref, { shape, data }) => {
        if (ref.startsWith(prefix)) seen[ref.slice(prefix.length)] = { shape, data: data.slice() };
      },
    });
  const weight = (name, rows) => {
    const { shape, data } = program.weights.read(`backbone.layers.${LAYER}.mixer.${name}`);
    const kept = [rows ?? shape[0], ...shape.slice(1)];
    return { shape: kept, data: data.slice(0, sizeOf(kept)) };
  };
  const tensors = {
    u: seen.scanIn,
    z: seen.gate,
    y: seen.scanOut,
    B: seen.B,
    C: seen.C,
    dtLow: seen.dtLow,
    dtWeight: weight('dt_proj.weight'),
    dtBias: weight('dt_proj.bias'),
    ALog: weight('A_log'),
    D: weight('D'),
    outWeight: weight('out_proj.weight', OUTPUTS),
  };
  const entries = Object.entries(tensors).map(
    ([name, tensor]) => /** @type {const} */ ([name, { ...tensor, dtype: /** @type {const} */ ('F32') }]),
  );
  writeFileSync(`${to}/layer.safetensors`, Buffer.concat([...writeSafetensors(entries, {})]));
  const words = Array.from(ids, id => tokenizer.decode([id]));
  writeFileSync(`${to}/layer.json`, JSON.stringify({ layer: LAYER, tokens: words }));
  close();
}

/**
 * The first block of each plan: its rows, and its lines as `quamba inspect --plan` prints them, with the names cut short.
 *
 * @param {string[]} recipes
 */
async function writePlans(recipes) {
  const plans = {};
  for (const recipe of recipes) {
    const { plan, dispose } = await openModel(openFolder(from), { recipe });
    const table = rows(plan);
    const [titles, ...lines] = cells(plan);
    const isOfBlock = ({ value }) => /^(?:layers|backbone\.layers)\.0\./.test(value);
    const begin = table.findIndex(isOfBlock);
    const end = table.findIndex(({ value }) => value === 'layers.0.h') + 1;
    const sizes = row =>
      Object.fromEntries(
        Object.values(row.inputs).flatMap(ref => {
          const type = plan.graph.weights.get(ref);
          return type ? [[short(ref), type.shape]] : [];
        }),
      );
    plans[recipe] = {
      lines: align([titles, ...lines.slice(begin, end)].map(line => line.map(short))).split('\n'),
      rows: table.slice(begin, end).map(row => ({
        ...row,
        value: short(row.value),
        inputs: Object.fromEntries(Object.entries(row.inputs).map(([key, ref]) => [key, short(ref)])),
        constants: sizes(row),
      })),
    };
    dispose();
  }
  writeFileSync(`${to}/plans.json`, JSON.stringify(plans));
}

/** @param {string} text */
function short(text) {
  return text.replaceAll(/\b(?:backbone\.)?layers\.0\.(?:mixer\.)?/g, '');
}
