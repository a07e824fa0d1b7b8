/** The input of the conformance suite: the stored calls of golden/, and the model that comes with the package. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { type Folder, using } from '../formats/bytes.ts';
import { openFolder } from '../formats/disk.ts';
import { readSafetensors, type SafetensorsFile } from '../formats/safetensors.ts';
import type { Config } from '../model/architecture.ts';
import { once } from '../once.ts';
import type { Attrs } from '../op.ts';
import { fileOf } from '../open/files.ts';
import { openFloatModel } from '../open/float.ts';
import { EMBEDDED_MODEL } from '../open/node.ts';
import { keptStats } from '../open/plan.ts';
import { openTokenizer } from '../open/tokenizer.ts';
import { needsCalibration } from '../quant/calibrate.ts';
import { planOf } from '../quant/pipeline.ts';
import { recipes } from '../quant/recipes.ts';
import type { Recipe } from '../quant/scheme.ts';
import type { StateType } from '../state.ts';
import type { Tensor } from '../tensor.ts';
import type { Goldens, ModelUnderTest } from './case.ts';
import { opNamesOf } from './plan.ts';

const folder = join(fileURLToPath(import.meta.url), '../../../golden');

interface Entry {
  readonly sha256: string;
  readonly op: string;
  readonly why: string;
  /** How its states are kept, where that is not f32. */
  readonly kept?: Readonly<Record<string, StateType['dtype']>>;
}
const manifest = (): { readonly files: Readonly<Record<string, Entry>> } =>
  JSON.parse(readFileSync(`${folder}/manifest.json`, 'utf8'));

/** The stored calls. A call is read, and its hash checked, when its case runs. */
export const goldens = (): Goldens =>
  Object.entries(manifest().files).flatMap(([path, { op, kept, why, sha256 }]) => {
    const [, directory, name] = /^(.+)\/(.+)\.safetensors$/.exec(path) ?? [];
    const form = [op, ...new Set(Object.values(kept ?? {}))].join('/');
    return directory === op ? [{ form, name, says: why, read: () => readGolden(path, sha256) }] : [];
  });

const readGolden = (path: string, sha256: string): ReturnType<Goldens[number]['read']> =>
  using(openFolder(folder), path, source => {
    const found = createHash('sha256').update(source.read(0, source.size)).digest('hex');
    if (found !== sha256)
      throw new Error(`golden/${path}: is not the file of the manifest (${found.slice(0, 12)})`);
    const file = readSafetensors(source, { finite: false });
    const inputs = inputsOf(file);
    const dtypes: Readonly<Record<string, StateType['dtype']>> = JSON.parse(file.metadata.kept ?? '{}');
    const kept = Object.fromEntries(
      Object.entries(dtypes).map(([key, dtype]) => {
        const { [`${key}.scale`]: scale } = inputs;
        delete inputs[`${key}.scale`];
        return [key, { dtype, ...(scale && { scale: scale.data as Float32Array }) }];
      }),
    );
    return { inputs, attrs: JSON.parse(file.metadata.attrs) as Attrs, kept };
  });

const inputsOf = (file: SafetensorsFile): Record<string, Tensor> =>
  Object.fromEntries(
    [...file.tensors.keys()].flatMap(name =>
      name.startsWith('in.') ? [[name.slice(3), file.read(name)]] : [],
    ),
  );

/** The hash of the manifest. The manifest holds the hash of every stored call, so equal hashes mean equal goldens. */
export const goldensHash = (): string =>
  createHash('sha256')
    .update(readFileSync(`${folder}/manifest.json`))
    .digest('hex');

/** The embedded model under every recipe whose statistics it has. Weights are read and plans are made when a case runs. */
export function embeddedModels(): readonly ModelUnderTest[] {
  const folder = openFolder(EMBEDDED_MODEL);
  const model = openFloatModel(folder);
  const { config, program } = model;
  const text = once(() => beginning(folder, config, 'validation.txt.gz'));
  const here = new Set(folder.list());
  const ready = Object.entries(recipes).filter(
    ([name, recipe]: [string, Recipe]) =>
      here.has(fileOf('stats', name)) || !needsCalibration(program, recipe),
  );
  return ready.map(([name, recipe]: [string, Recipe]) => ({
    name: 'embedded',
    recipe: name,
    float: () => program,
    plan: once(() => planOf(program, recipe, keptStats(folder, { name, scheme: recipe }, model)?.stats)),
    ops: opNamesOf(program, recipe),
    text,
  }));
}

/** This is enough for every case. To tokenise the whole text would take a second. */
const CHARACTERS = 4000;

function beginning(folder: Folder, config: Config, file: string): Int32Array {
  const tokenizer = openTokenizer(folder, config);
  const text = using(folder, file, source => gunzipSync(source.read(0, source.size)).toString('utf8'));
  return tokenizer.encode(text.slice(0, CHARACTERS));
}
