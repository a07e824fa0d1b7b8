/** What the pages say of the models that come with them, against their files and the library's recipes. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openFolder } from '../../src/formats/disk.ts';
import { openFloatModel } from '../../src/open/float.ts';
import { needsCalibration } from '../../src/quant/calibrate.ts';
import { recipe, recipes } from '../../src/quant/recipes.ts';
import { statesBytes } from '../../src/state.ts';
import { filesOf, MODELS, RECIPES, statsOf, weightBytes } from '../../web/src/model.ts';

const pages = ['index.html', 'inside.html'].map(page => readFileSync(`web/${page}`, 'utf8')).join();

it('offers only recipes of the library, each with words', () => {
  const offered = Object.values(MODELS).flatMap(model => model.recipes);
  expect(new Set(offered)).toEqual(new Set(Object.keys(RECIPES)));
  expect(Object.keys(recipes)).toEqual(expect.arrayContaining(offered));
});

describe.each(Object.entries(MODELS))('%s', (name, model) => {
  const folder = `models/${name}`;
  const there = readdirSync(folder);
  const bytes = (file: string) => statSync(`${folder}/${file}`).size;
  /** The texts that are about this model's family. */
  const said = [...pages.matchAll(/<span data-model-type="(\w+)"[^>]*>(.*?)<\/span>/gs)].flatMap(
    ([, modelType, text]) => (modelType === model.modelType ? text : []),
  );

  it('has the family of its config', () => {
    const { config, close } = openFloatModel(openFolder(folder));
    close();
    expect(config.architecture).toBe(model.modelType);
  });

  it('has static scales where a recipe needs them, and only there', () => {
    const { program, close } = openFloatModel(openFolder(folder));
    const needs = model.recipes.filter(each => needsCalibration(program, recipe(each)));
    expect([...model.static].sort()).toEqual([...needs].sort());
    for (const each of model.recipes)
      expect(filesOf(model, each).includes(statsOf(each)), each).toBe(
        each !== model.ready && needs.includes(each),
      );
    close();
  });

  it('asks for files that are there', () => {
    for (const each of model.recipes)
      expect(there).toEqual(expect.arrayContaining([...filesOf(model, each)]));
    expect(there).toEqual(expect.arrayContaining(model.static.map(statsOf)));
  });

  it('knows how many bytes they have', () => {
    for (const each of model.recipes) {
      const [weights, ...more] = filesOf(model, each).filter(file => /^(?:model|plan\.)/.test(file));
      expect(more).toEqual([]);
      expect(weightBytes(model, each), each).toBe(bytes(weights));
      expect(
        filesOf(model, each)
          .filter(file => file.endsWith('.json'))
          .reduce((sum, file) => sum + bytes(file), 0),
      ).toBe(model.bytes.json);
    }
  });

  it('is described with the sizes of its files', () => {
    const sizes = ['plan.quamba.safetensors', 'model.safetensors']
      .filter(file => there.includes(file))
      .map(file => `${(bytes(file) / 1e6).toFixed(1)} MB`);
    const mentioned = said.join().match(/[\d.]+ MB/g) ?? [];
    expect(mentioned.length).toBeGreaterThan(1);
    for (const size of mentioned) expect(sizes).toContain(size);
  });

  it('is described with the size of its state and its parameters', () => {
    const { program, close } = openFloatModel(openFolder(folder));
    const kB = Math.round(statesBytes(program.graph.states, 0) / 1e4) * 10;
    expect(said).toContain(`${kB.toLocaleString('en')} kB`);
    const parameters = [...program.graph.weights.values()]
      .map(({ shape }) => shape.reduce((size, n) => size * n, 1))
      .reduce((sum, size) => sum + size);
    const millions = (parameters / 1e6).toFixed(1);
    expect(said).toContain(millions);
    expect(model.about).toContain(`${millions} million parameters`);
    close();
  });
});
