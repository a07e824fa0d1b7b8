// Small files of real values for the lessons, to web/public/samples: what one block of the embedded model and one of its sibling
// of Mamba-2 compute for a short text, and the first block of three plans. scripts/web-assets.mjs calls this.
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openFloatModel, openFolder, openModel, writeSafetensors } from '../dist/index.js';
import { align, cells, rows } from '../dist/plan/render.js';
import { interpret } from '../dist/run.js';
import { sizeOf } from '../dist/tensor.js';

const from = 'models/mamba-books-15m';
const from2 = 'models/mamba2-books-15m';
const to = 'web/public/samples';

const TOKENS = 96;
/** Of out_proj, the first rows: enough to see what rounding does to a product. */
const OUTPUTS = 64;
const TEXT =
  'The old man sat at the window and looked out over the harbour. The boats were late. His daughter put down her book and ' +
  'told him that they had been late yesterday too, and had come home all the same. He shook his head, for the wind had ' +
  'turned in the night, and the sky above the hills was as grey as iron. Then a bell rang on the quay, and both of them ' +
  'ran to the door without a word. Far out, beyond the lighthouse, they saw three sails.';

/**
 * Of each model a layer, and by their names in a lesson the values of src/model that a block computes (`seen`) and its weights.
 * The layer is the one whose y has the largest crest factor: for Mamba after the first ones.
 */
const LAYERS = {
  layer: {
    from,
    layer: 7,
    seen: { u: 'scanIn', z: 'gate', y: 'scanOut', B: 'B', C: 'C', dtLow: 'dtLow' },
    weights: {
      dtWeight: 'dt_proj.weight',
      dtBias: 'dt_proj.bias',
      ALog: 'A_log',
      D: 'D',
      outWeight: 'out_proj.weight',
    },
  },
  ssd: {
    from: from2,
    layer: 2,
    seen: { x: 'scanIn', z: 'gate', B: 'B', C: 'C', dt: 'dt' },
    weights: { ALog: 'A_log', D: 'D', bias: 'dt_bias', norm: 'norm.weight', outWeight: 'out_proj.weight' },
  },
};

const time = path => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const files = ['plans.json', ...Object.keys(LAYERS).flatMap(name => [`${name}.safetensors`, `${name}.json`])];
const made = Math.min(...files.map(file => time(`${to}/${file}`)));
const sources = [
  fileURLToPath(import.meta.url),
  ...[from, from2].map(folder => `${folder}/model.safetensors`),
];
if (made < Math.max(...sources.map(time))) {
  mkdirSync(to, { recursive: true });
  const { tokenizer, dispose } = await openModel(openFolder(from));
  dispose();
  for (const name of Object.keys(LAYERS)) writeLayer(name, tokenizer);
  await writePlans(['fp32', 'naive-static', 'quamba']);
}

/**
 * @param {string} name
 * @param {import('../dist/index.js').Tokenizer} tokenizer
 */
function writeLayer(name, tokenizer) {
  const { from, layer, seen, weights } = LAYERS[name];
  const { program, close } = openFloatModel(openFolder(from));
  const ids = Int32Array.from(tokenizer.encode(TEXT)).slice(0, TOKENS);
  /** @type {Record<string, { shape: readonly number[], data: Float32Array }>} */
  const values = {};
  const prefix = `layers.${layer}.`;
  interpret(program)
    .open()
    .feed(ids, {
      observe: (_, ref, { shape, data }) => {
        if (ref.startsWith(prefix)) values[ref.slice(prefix.length)] = { shape, data: data.slice() };
      },
    });
  const weight = file => {
    const { shape, data } = program.weights.read(`backbone.layers.${layer}.mixer.${file}`);
    const kept = file === 'out_proj.weight' ? [OUTPUTS, ...shape.slice(1)] : shape;
    return { shape: kept, data: data.slice(0, sizeOf(kept)) };
  };
  const each = (names, read) => Object.entries(names).map(([key, word]) => [key, read(word)]);
  const entries = [...each(seen, word => values[word]), ...each(weights, weight)].map(
    ([key, tensor]) => /** @type {const} */ ([key, { ...tensor, dtype: /** @type {const} */ ('F32') }]),
  );
  writeFileSync(`${to}/${name}.safetensors`, Buffer.concat([...writeSafetensors(entries, {})]));
  const words = Array.from(ids, id => tokenizer.decode([id]));
  writeFileSync(`${to}/${name}.json`, JSON.stringify({ layer, tokens: words }));
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
