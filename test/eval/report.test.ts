/** The page and the plots: whole, valid, honest about every number, and readable: labels do not cover each other. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { overlap, placeLabels } from '../../src/eval/report/labels.ts';
import { reportPage } from '../../src/eval/report/page.ts';
import { paretoFront } from '../../src/eval/report/plot-pareto.ts';
import { plotsOf, svgFiles } from '../../src/eval/report/plots.ts';
import { joinResults, type Results } from '../../src/eval/report/results.ts';
import { linear, logarithmic, spread } from '../../src/eval/report/scale.ts';
import { textWidth } from '../../src/eval/report/svg.ts';
import { nameOf, number, sentenceOf, signedPercent, sizeWords } from '../../src/eval/report/words.ts';
import { answer, complaint, printed, workFolder } from '../cli/run.ts';
import { toyFiles, writeFolder } from '../cli/toy.ts';
import { madeUpResults, madeUpRows } from './report-results.ts';

const whole = madeUpResults();
const empty = /^(?:meta|!doctype)$/;

/** Every tag closes in its order, every id is unique and every id that is spoken of exists; no text holds a bare < or &. */
function checkMarkup(markup: string): void {
  const open: string[] = [];
  const ids: string[] = [];
  const spoken: string[] = [];
  const bare = markup.replace(/<style>[\s\S]*?<\/style>/g, '');
  for (const [, close, name, attributes, self] of bare.matchAll(
    /<(\/?)([!a-zA-Z][\w!]*)((?:\s+[\w:-]+(?:="[^"<]*")?)*)\s*(\/?)>/g,
  )) {
    if (close) expect(open.pop(), `</${name}>`).toBe(name);
    else if (!self && !empty.test(name)) open.push(name);
    for (const [, key, value] of attributes.matchAll(/([\w:-]+)="([^"]*)"/g)) {
      if (key === 'id') ids.push(value);
      if (key === 'aria-labelledby') spoken.push(...value.split(' '));
      expect(value, `${name} ${key}`).not.toMatch(/NaN|Infinity|undefined/);
    }
  }
  expect(open).toEqual([]);
  expect(new Set(ids).size).toBe(ids.length);
  expect(spoken.filter(id => !ids.includes(id))).toEqual([]);
  const texts = bare.replace(/<(\/?)([!a-zA-Z][\w!]*)((?:\s+[\w:-]+(?:="[^"<]*")?)*)\s*(\/?)>/g, '');
  expect(texts).not.toMatch(/</);
  expect(texts.replace(/&(?:amp|lt|gt|quot|apos|#\d+|#x[\da-f]+);/gi, '')).not.toMatch(/&/);
}

const ENTITIES: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
const unescaped = (markup: string) =>
  markup.replace(/&(?:#(\d+)|(\w+));/g, (_, code, name) =>
    code ? String.fromCodePoint(Number(code)) : ENTITIES[name],
  );
const jsonOf = (page: string): unknown => JSON.parse(unescaped(/<pre>([\s\S]*?)<\/pre>/.exec(page)![1]));

describe('the page', () => {
  const page = reportPage(whole);

  it('is valid, and asks the network for nothing', () => {
    checkMarkup(page);
    expect(page).not.toMatch(/https?:|@import|url\(|<script|<link|<img/);
    expect(page).toMatch(/^<!doctype html>\n<html lang="en">/);
  });

  it('has a picture for each plot, with a title and a description', () => {
    const plots = Object.values(plotsOf(whole)).flat();
    expect(plots.map(({ id }) => id)).toEqual([
      'pareto-bytes',
      'pareto-latency',
      'techniques',
      'percentiles',
      'ladder',
      'histograms',
      'outlier-reduction',
      'outlier-channels',
      'sites',
      'layer-error',
    ]);
    expect(page.match(/<svg [^>]*role="img"/g)!.length).toBe(plots.length);
    for (const { title, description } of plots)
      expect(Math.min(title.length, description.length)).toBeGreaterThan(10);
  });

  it('shows every number of every row', () => {
    const [float, ...others] = madeUpRows();
    for (const row of others) {
      const line = page
        .split('\n')
        .filter(l => l.startsWith(`<tr><th scope="row">${row.recipe}</th>`))
        .join();
      for (const shown of [
        row.perplexity!.toFixed(3),
        signedPercent(row.perplexity! / float.perplexity! - 1),
        row.kl!.toFixed(5),
        (100 * row.top1!).toFixed(2),
        sizeWords(row.bytes!),
        sizeWords(row.stateBytes!),
        number(row.prefill!),
        number(row.decode!),
        (100 * row.tasks!.lambada.acc).toFixed(2),
        (100 * row.tasks!.piqa.acc_norm!).toFixed(2),
      ])
        expect(line).toContain(`${shown}`);
    }
  });

  it('shows every arm, verdict, layer and site', () => {
    const { techniques, layers, sites, outliers } = whole.ablation!;
    const plain = unescaped(page);
    for (const row of techniques!.rows) {
      expect(plain).toContain(nameOf(row));
      for (const { perplexity } of row.trials) expect(plain).toContain(perplexity.toFixed(3));
    }
    for (const verdict of techniques!.verdicts) expect(plain).toContain(sentenceOf(verdict));
    for (const recipe of layers!.recipes)
      for (const { snr } of recipe.layers) expect(plain).toContain(`<td>${snr!.toFixed(1)}</td>`);
    for (const { kl } of sites!.rows) expect(plain).toContain(`<td>${number(kl)}</td>`);
    for (const { y } of outliers!.layers)
      expect(plain).toContain(`<td>${number(y.before.shape.kurtosis)}</td>`);
  });

  it("has Mamba-2's letters for a Mamba-2, and says what u and y are there", () => {
    const rows = (['convIn', 'scanIn'] as const).map(site => ({
      ...whole.ablation!.sites!.rows[1],
      site,
    }));
    const ablation = { sites: { ...whole.ablation!.sites!, rows } };
    const [one, two] = [{ ablation }, { architecture: 'mamba2', ablation }].map(reportPage).map(unescaped);
    expect(two).toContain('In Mamba-2, u is x');
    for (const words of ['convIn (xBC)', 'scanIn (x)']) expect(two).toContain(words);
    expect(one).not.toContain('Mamba-2');
    for (const words of ['convIn (x)', 'scanIn (u)']) expect(one).toContain(words);
  });

  it('has ± only where there is an error', () => {
    const scores = {
      one: { acc: 1, stderr: null },
      many: { acc: 0.5, stderr: 0.02, acc_norm: 0.25, acc_norm_stderr: 0.01 },
    };
    const made = reportPage({ results: [{ recipe: 'a', tasks: scores }] });
    expect(made.match(/<td>[^/]*(?:<small>[^/]*<\/small>)?<\/td>/g)).toEqual([
      '<td>100.00</td>',
      '<td>50.00 <small>± 2.00</small></td>',
      '<td>25.00 <small>± 1.00</small></td>',
    ]);
  });

  it('holds the results as they were', () => expect(jsonOf(page)).toEqual(JSON.parse(JSON.stringify(whole))));

  it('leaves out what is not there', () => {
    for (const part of ['techniques', 'ladder', 'outliers', 'sites', 'layers'] as const) {
      const { [part]: _, ...rest } = whole.ablation!;
      const without = reportPage({ ...whole, ablation: rest });
      checkMarkup(without);
      expect(without.match(/<h2>/g)!.length).toBe(5);
    }
    const bare = reportPage({ results: [{ recipe: 'a', perplexity: 20 }, { recipe: 'b' }] });
    checkMarkup(bare);
    expect(bare).not.toMatch(/KL|prefill|weights|undefined|NaN/);
  });

  it('of one row, of none, of a model of one layer, of one seed', () => {
    const one: Results = { results: madeUpRows().slice(0, 1) };
    for (const results of [{}, { results: [] }, one, madeUpResults(1, 1), madeUpResults(64, 2)]) {
      checkMarkup(reportPage(results));
      for (const [, svg] of svgFiles(results)) checkMarkup(svg);
    }
    expect(Object.values(plotsOf(one)).flat()).toEqual([]);
  });

  it('escapes what it is given', () => {
    const hostile = `<b onload="x">&amp;'</b>`;
    const results: Results = {
      ...whole,
      ...{ model: hostile, text: hostile, backend: hostile, settings: { [hostile]: hostile } },
      results: madeUpRows().map(row => ({
        ...row,
        recipe: row.recipe + hostile,
        tasks: { [hostile]: { acc: 0.5 } },
      })),
      ablation: {
        ...whole.ablation,
        layers: { tokens: 4, recipes: [{ recipe: hostile, layers: [{ layer: 0, relative: 0.1, snr: 20 }] }] },
      },
    };
    const made = reportPage(results);
    checkMarkup(made);
    expect(made).not.toContain('<b onload');
    for (const [, svg] of svgFiles(results)) {
      checkMarkup(svg);
      expect(svg).not.toContain('<b onload');
    }
    expect(jsonOf(made)).toEqual(JSON.parse(JSON.stringify(results)));
  });

  it('is valid for any rows', () => {
    const positive = fc.double({ min: 1e-6, max: 1e9, noNaN: true });
    const row = fc.record(
      {
        recipe: fc.string({ minLength: 1, maxLength: 12 }),
        perplexity: positive,
        kl: fc.option(fc.double({ min: 0, max: 9, noNaN: true }), { nil: undefined }),
        bytes: fc.integer({ min: 1, max: 2 ** 40 }),
        decode: positive,
      },
      { requiredKeys: ['recipe'] },
    );
    fc.assert(
      fc.property(fc.array(row, { maxLength: 12 }), results => {
        checkMarkup(reportPage({ results }));
        for (const [, svg] of svgFiles({ results })) checkMarkup(svg);
      }),
      { numRuns: 60 },
    );
  });
});

it('a plot alone is an SVG document with its own colours', () => {
  const files = svgFiles(whole);
  expect(files.length).toBe(10);
  for (const [name, svg] of files) {
    expect(name).toMatch(/^[a-z-]+\.svg$/);
    checkMarkup(svg);
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    for (const needed of ['prefers-color-scheme:dark', '@media print', '--c0:', 'role="img"'])
      expect(svg).toContain(needed);
    expect(svg.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|url\(|@import/);
  }
});

describe('where things are put', () => {
  it('labels on an axis keep their order and their distance, within the axis, and move only if they must', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -50, max: 450, noNaN: true }), { minLength: 1, maxLength: 20 }),
        wanted => {
          const placed = spread(wanted, 15, 0, 400);
          const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b] || a - b);
          for (const [rank, i] of order.entries()) {
            expect(placed[i]).toBeGreaterThanOrEqual(-1e-9);
            expect(placed[i]).toBeLessThanOrEqual(400 + 1e-9);
            if (rank > 0) expect(placed[i] - placed[order[rank - 1]]).toBeGreaterThanOrEqual(15 - 1e-9);
          }
          expect(spread(placed, 15, 0, 400).every((y, i) => Math.abs(y - placed[i]) < 1e-6)).toBe(true);
        },
      ),
    );
  });

  it('labels beside points do not cover each other', () => {
    const frame = { left: 0, top: 0, right: 760, bottom: 440 };
    const point = fc.tuple(fc.integer({ min: 150, max: 600 }), fc.integer({ min: 40, max: 400 }));
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 12 }), points => {
        const markup = placeLabels(
          points.map(at => ({ at, label: 'quamba-int8-head' })),
          frame,
        );
        const width = textWidth('quamba-int8-head');
        const boxes = [...markup.matchAll(/<text x="([-\d.]+)" y="([-\d.]+)" text-anchor="(\w+)"/g)].map(
          ([, x, y, anchor]) => {
            const left = Number(x) - { start: 0, middle: width / 2, end: width }[anchor]!;
            return {
              left: left + 0.1,
              right: left + width - 0.1,
              top: Number(y) - 10.9,
              bottom: Number(y) + 2.9,
            };
          },
        );
        expect(boxes.length).toBe(points.length);
        for (const [i, a] of boxes.entries())
          for (const b of boxes.slice(i + 1)) expect(overlap(a, b)).toBe(0);
      }),
    );
  });

  it('scales map their ends to the ends, in order, with ticks inside', () => {
    const finite = fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(finite, values => {
        const [low, high] = [Math.min(...values), Math.max(...values)];
        const linears = [linear(values, [400, 0]), linear(values, [400, 0], { zero: true })];
        const log = logarithmic(values, [400, 0]);
        expect([log(low / 1.15), log(high * 1.15)].map(at => Math.round(at * 1e6))).toEqual([400e6, 0]);
        for (const scale of linears) {
          expect(scale(scale.ticks[0])).toBeCloseTo(400, 6);
          expect(scale(scale.ticks.at(-1)!)).toBeCloseTo(0, 6);
        }
        for (const scale of [...linears, log]) {
          for (const at of [...values, ...scale.ticks].map(scale)) {
            expect(at).toBeGreaterThanOrEqual(-1e-6);
            expect(at).toBeLessThanOrEqual(400 + 1e-6);
          }
          expect(scale.ticks.length).toBeGreaterThan(0);
          expect(scale.ticks.length).toBeLessThan(17);
        }
      }),
    );
  });

  it('the front holds what nothing beats, and every other point is beaten by one of it', () => {
    const point = fc.record({ name: fc.constant('x'), cost: fc.nat(8), loss: fc.nat(8) });
    fc.assert(
      fc.property(fc.array(point, { minLength: 1, maxLength: 15 }), points => {
        const front = paretoFront(points);
        for (const [i, a] of front.entries())
          for (const b of front.slice(i + 1))
            expect((b.cost > a.cost && b.loss < a.loss) || (b.cost === a.cost && b.loss === a.loss)).toBe(
              true,
            );
        for (const a of points) expect(front.some(b => b.cost <= a.cost && b.loss <= a.loss)).toBe(true);
      }),
    );
  });
});

describe('numbers in words', () => {
  it.each<[number, string]>([
    [0, '0'],
    [0.000123, '1.23e-4'],
    [-0.000123, '−1.23e-4'],
    [12.345, '12.3'],
    [12345, '12,345'],
    [123456789, '1.23e8'],
    [0.5, '0.5'],
  ])('%f is %s', (value, words) => expect(number(value)).toBe(words));

  it('shares and sizes', () => {
    expect([signedPercent(0.0113), signedPercent(-0.001, 1)]).toEqual(['+1.13 %', '−0.1 %']);
    expect([sizeWords(999), sizeWords(24694944), sizeWords(1234)]).toEqual(['999 B', '24.7 MB', '1.23 kB']);
  });
});

describe('joining', () => {
  const { results, ...rest } = whole;

  it('rows of one recipe become one; parts of an ablation one ablation', () => {
    const { techniques, ...others } = whole.ablation!;
    const joined = joinResults([
      { results: results!.map(({ tasks, ...row }) => row) },
      { results: results!.map(({ recipe, tasks }) => ({ recipe, tasks: { lambada: tasks!.lambada } })) },
      { results: results!.map(({ recipe, tasks }) => ({ recipe, tasks: { piqa: tasks!.piqa } })) },
      { ...rest, ablation: { techniques } },
      { ...rest, ablation: others },
    ]);
    expect(joined).toEqual(whole);
  });

  it('refuses what is no result, and two models', () => {
    expect(() => joinResults([{ a: 1 }], ['x.json'])).toThrow(/^x\.json: expected what quamba eval --json/);
    expect(() => joinResults([{ results: [1] }], ['x.json'])).toThrow(
      /^x\.json: results expected rows with a recipe; got 1/,
    );
    expect(() => joinResults([whole, { ...whole, model: 'other' }], ['a', 'b'])).toThrow(
      /^b: is of model other; the results before/,
    );
  });
});

describe('commands', () => {
  const here = workFolder();
  beforeAll(() => {
    writeFolder(join(here, 'toy'), toyFiles({ text: true }));
    writeFileSync(join(here, 'made.json'), JSON.stringify(whole));
    writeFileSync(join(here, 'no.json'), '{}');
    writeFileSync(join(here, 'text.txt'), 'The old man looked out of the window. '.repeat(8));
  });

  it('report writes the page and the plots', async () => {
    const said = await answer<{ files: string[] }>(
      here,
      'report',
      'made.json',
      '--html',
      'r.html',
      '--svg',
      'plots',
    );
    expect(said.files.length).toBe(11);
    expect(readFileSync(join(here, 'r.html'), 'utf8')).toBe(reportPage(JSON.parse(JSON.stringify(whole))));
    expect(readdirSync(join(here, 'plots')).length).toBe(10);
  });

  it('report says what is wrong', async () => {
    expect(await complaint(2, here, 'report', 'made.json')).toBe(
      'report: give --html FILE, --svg DIR, or both',
    );
    expect(await complaint(2, here, 'report', 'none.json', '--html', 'x.html')).toMatch(
      /^none\.json: no such file or folder/,
    );
    expect(await complaint(1, here, 'report', 'no.json', '--html', 'x.html')).toMatch(
      /^no\.json: expected what quamba eval/,
    );
    expect(readdirSync(here)).not.toContain('x.html');
  });

  it('ablate measures a model on texts, writes its page, and prints one object or a table', async () => {
    const args =
      'ablate --model toy --text text.txt --calibration text.txt --limit 40 --window 20 --samples 2 --sample 16'.split(
        ' ',
      );
    const found = await answer<Results>(
      here,
      ...args,
      '--seeds',
      '2',
      '--recipe',
      'fp32,dynamic',
      '--html',
      'a.html',
    );
    expect(Object.keys(found.ablation!)).toEqual(['techniques', 'ladder', 'outliers', 'sites', 'layers']);
    expect(found.model).toBe('toy');
    expect(found.ablation!.layers!.recipes.map(({ recipe }) => recipe)).toEqual(['dynamic']);
    expect(readFileSync(join(here, 'a.html'), 'utf8') === reportPage(found)).toBe(true);
    const table = await printed(here, ...args, '--only', 'outliers');
    expect(table).toMatch(/^layer {2}max \|y\|/);
  });

  it('ablate says what is wrong', async () => {
    expect(await complaint(2, here, 'ablate', '--model', 'toy', '--window', '64', '--limit', '32')).toBe(
      'ablate: --window 64 is more than --limit 32',
    );
    expect(await complaint(2, here, 'ablate', '--model', 'toy', '--recipe', 'nope')).toMatch(
      /^recipe 'nope' is not known/,
    );
    expect(await complaint(2, here, 'ablate', '--only', 'frob')).toMatch(
      /techniques, ladder, outliers, sites, layers/,
    );
  });
});
