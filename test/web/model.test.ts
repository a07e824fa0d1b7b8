/** What the pages say of the model that comes with them, against its files and the library's recipes. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { expect, it } from 'vitest';
import { openFolder } from '../../src/formats/disk.ts';
import type { MambaConfig } from '../../src/model/mamba.ts';
import { openFloatModel } from '../../src/open/float.ts';
import { needsCalibration } from '../../src/quant/calibrate.ts';
import { type RecipeName, recipes } from '../../src/quant/recipes.ts';
import { filesOf, JSON_BYTES, RECIPES, statsOf, weightBytes } from '../../web/src/model.ts';

const FOLDER = 'models/mamba-books-15m';
const names = Object.keys(recipes) as RecipeName[];
const bytes = (file: string) => statSync(`${FOLDER}/${file}`).size;

it('offers only recipes of the library', () => {
  expect(names).toEqual(expect.arrayContaining(Object.keys(RECIPES)));
});

it('asks for static scales where a recipe needs them, and only there', () => {
  const { program, close } = openFloatModel(openFolder(FOLDER));
  const withFiles = names.filter(name => existsSync(`${FOLDER}/${statsOf(name)}`));
  for (const name of withFiles) {
    const needs = name !== 'quamba' && needsCalibration(program, recipes[name]);
    expect(filesOf(name).includes(statsOf(name)), name).toBe(needs);
  }
  for (const name of Object.keys(RECIPES) as RecipeName[])
    if (needsCalibration(program, recipes[name])) expect(withFiles).toContain(name);
  close();
});

it('asks for files that are there', () => {
  const there = readdirSync(FOLDER);
  for (const name of Object.keys(RECIPES)) expect(there).toEqual(expect.arrayContaining([...filesOf(name)]));
});

it('knows how many bytes they have', () => {
  for (const name of Object.keys(RECIPES)) {
    const [weights, ...more] = filesOf(name).filter(file => /^(?:model|plan\.)/.test(file));
    expect(more).toEqual([]);
    expect(weightBytes(name), name).toBe(bytes(weights));
    expect(
      filesOf(name)
        .filter(file => file.endsWith('.json'))
        .reduce((sum, file) => sum + bytes(file), 0),
    ).toBe(JSON_BYTES);
  }
});

it('says sizes in its text that are those of the files', () => {
  const sizes = ['plan.quamba.safetensors', 'model.safetensors'].map(
    file => `${(bytes(file) / 1e6).toFixed(1)} MB`,
  );
  const pages = ['index.html', 'inside.html'].map(page => readFileSync(`web/${page}`, 'utf8')).join();
  const said = pages.match(/[\d.]+ MB/g) ?? [];
  expect(said.length).toBeGreaterThan(1);
  for (const size of said) expect(sizes).toContain(size);
});

it('says how large a state is', () => {
  const { config, close } = openFloatModel(openFolder(FOLDER));
  close();
  const { layers, dInner, dState, dConv } = config as MambaConfig;
  const kB = (4 * layers * dInner * (dState + dConv - 1)) / 1000;
  expect(readFileSync('web/index.html', 'utf8')).toContain(
    `state of fixed size: ${Math.round(kB / 10) * 10} kB`,
  );
});
