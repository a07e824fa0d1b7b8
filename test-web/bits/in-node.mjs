/**
 * A thread of ../bits.test.ts, which does Node's part while the pages do theirs: for each recipe a plan in `folder`, and the
 * hashes of its logits on both backends. Of a recipe whose scales do not come with the model they are taken from a short text:
 * the bits are what is asked for, not the quality.
 */
import { createHash } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import {
  backends,
  EMBEDDED_MODEL,
  initialState,
  load,
  openFloatModel,
  openFolder,
  prepare,
  recipes,
  savePlan,
} from '../../dist/index.js';
import { needsCalibration } from '../../dist/quant/calibrate.js';

const { folder, text, positions } = workerData;
const BRIEF = { samples: 2, window: 64 };

const files = readdirSync(EMBEDDED_MODEL);
const { program } = openFloatModel(openFolder(EMBEDDED_MODEL));
const hash = ({ data }) =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');

for (const [recipe, scheme] of Object.entries(recipes)) {
  const canBeMadeInPage = !needsCalibration(program, scheme) || files.includes(`stats.${recipe}.safetensors`);
  const model = await load(undefined, { recipe, backend: 'wasm', ...(!canBeMadeInPage && BRIEF) });
  const tokens = Int32Array.from(model.tokenizer.encode(text)).subarray(0, positions);
  const { plan, info } = model;
  const wasm = hash(model.session().feed(tokens));
  const reference = hash(prepare(backends.reference, plan).feed(tokens, initialState(plan)).logits);
  writeFileSync(`${folder}/plan.${recipe}.safetensors`, Buffer.concat([...savePlan(plan, info)]));
  model.dispose();
  parentPort.postMessage({ recipe, tokens, wasm, reference, canBeMadeInPage });
}
