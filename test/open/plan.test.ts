/** The plan of a folder: what is opened how often, which plan is taken, and which words a recipe may use. */
import { expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { reference } from '../../src/backends/reference.ts';
import { type Folder, folderOf } from '../../src/formats/bytes.ts';
import { fileOf } from '../../src/open/files.ts';
import { openFloatModel } from '../../src/open/float.ts';
import { openPlan, type PlanOptions, type Preparing } from '../../src/open/plan.ts';
import { savePlan } from '../../src/quant/checkpoint.ts';
import { recipe } from '../../src/quant/recipes.ts';
import type { Recipe } from '../../src/quant/scheme.ts';
import { type Files, json, toyFiles } from '../cli/toy.ts';
import { concat } from '../formats/file.ts';

/** A folder in memory, the names of what was opened, and how much of it is open. */
function watched(files: Files) {
  const opened: string[] = [];
  let open = 0;
  const inner = folderOf('m', files);
  const folder: Folder = {
    ...inner,
    open(name) {
      const source = inner.open(name);
      opened.push(name);
      open++;
      return {
        name: source.name,
        size: source.size,
        read: source.read.bind(source),
        readInto: source.readInto.bind(source),
        close() {
          open--;
          source.close();
        },
      };
    },
  };
  const times = (name: string) => opened.filter(other => other === name).length;
  return { folder, times, open: () => open };
}
const preparing: Preparing = async () => program => prepare(reference, program);
const planned = (files: Files, options: PlanOptions) => openPlan(folderOf('m', files), options, preparing);

const dynamic: Recipe = recipe('dynamic');
const { plan, info, close } = await planned(toyFiles(), { recipe: 'dynamic' });
const withPlan: Files = { ...toyFiles(), [fileOf('plan', 'dynamic')]: concat(savePlan(plan, info)) };
close();

it('opens config.json once, whether a plan is made, taken, or left for another recipe', async () => {
  for (const [files, asked] of [
    [toyFiles(), 'dynamic'],
    [withPlan, 'dynamic'],
    [withPlan, { name: 'dynamic', scheme: {} }],
  ] as const) {
    const { folder, times, open } = watched(files);
    const found = await openPlan(folder, { recipe: asked }, preparing);
    expect(times('config.json')).toBe(1);
    expect(open()).toBe(1); // what its constants are read from
    found.close();
    expect(open()).toBe(0);
  }
});

it('takes a plan whose recipe says the same, in whatever order', async () => {
  const { folder, times } = watched(withPlan);
  const turned = Object.fromEntries(Object.entries(dynamic).toReversed()) as Recipe;
  expect(JSON.stringify(turned)).not.toBe(JSON.stringify(dynamic));
  const found = await openPlan(folder, { recipe: { name: 'dynamic', scheme: turned } }, preparing);
  expect(times(fileOf('plan', 'dynamic'))).toBe(1);
  expect(found.info.recipe.scheme).toEqual(dynamic);
  expect(found.plan.graph).toEqual(plan.graph);
  found.close();
});

it.each<[string, RegExp, Files, PlanOptions]>([
  [
    'a word that the model does not have',
    /^recipe\.at: mamba has no site "scanOutput"; it has blockIn, convIn, .*, headIn$/,
    toyFiles(),
    { recipe: { name: 'mine', scheme: { at: { scanOutput: {} } } as Recipe } },
  ],
  [
    'a plan of other weights',
    /^m\/plan\.dynamic\.safetensors: was made for other weights \(\w{12}\) than those beside it \(\w{12}\)$/,
    { ...withPlan, 'model.safetensors': toyFiles({ precision: 'F16' })['model.safetensors'] },
    { recipe: 'dynamic' },
  ],
  [
    'a plan of a config with other values',
    /^m\/plan\.dynamic\.safetensors: was made for a model with normEps 0\.00001; config\.json says 0\.001$/,
    {
      ...withPlan,
      'config.json': json({
        ...JSON.parse(new TextDecoder().decode(withPlan['config.json'])),
        layer_norm_epsilon: 1e-3,
      }),
    },
    { recipe: 'dynamic' },
  ],
])('refuses %s, and closes what it opened', async (_, sentence, files, options) => {
  const { folder, open } = watched(files);
  await expect(openPlan(folder, options, preparing)).rejects.toThrow(sentence);
  expect(open()).toBe(0);
});

it('a float model that does not fit its config is closed again', () => {
  const { folder, open } = watched({ ...toyFiles(), 'config.json': json({ model_type: 'mamba3' }) });
  expect(() => openFloatModel(folder)).toThrow(
    new RangeError(
      'm/config.json: model_type expected "mamba" or "falcon_mamba" or "mamba2" or "granitemoehybrid" or "falcon_h1" or "jamba"; got "mamba3"',
    ),
  );
  expect(open()).toBe(0);
});
