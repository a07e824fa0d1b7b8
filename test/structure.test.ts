/**
 * The rules that a reader of the design relies on, checked on the source text. Each rule carries a planted breach that
 * it must find, so a rule that has gone blind is red.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { basename, dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { arrowsOf, circlesOf, codeOf, importsOf, type Source, targetOf } from './imports.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

interface Rule {
  readonly says: string;
  readonly applies: (path: string) => boolean;
  /** What is wrong, one line each. */
  readonly breaches: (source: Source) => string[];
  readonly planted: readonly Source[];
}

/** All files below a folder but what is installed, built or git's. */
function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap(entry => {
    if (/^(node_modules|dist|build|\.git)$/.test(entry.name)) return [];
    const path = posix.join(folder, entry.name);
    return entry.isDirectory() ? walk(path) : entry.isFile() ? [path] : [];
  });
}
const paths = walk('.');
const known = new Map<string, Source>();
/** The same object each time, so that it is parsed once. */
function read(path: string): Source {
  const source = known.get(path) ?? { path, text: readFileSync(join(root, path), 'utf8') };
  known.set(path, source);
  return source;
}
const exists = (path: string) => existsSync(join(root, path));
const isSource = (path: string) => /^src\/.*\.m?[jt]s$/.test(path);
const isRuled = (path: string) =>
  isSource(path) || /^(?:assembly|web\/src)\/.*\.ts$/.test(path) || /^(?:scripts|bench)\/.*\.mjs$/.test(path);

const found = (source: Source, pattern: RegExp): string[] =>
  [...codeOf(source).matchAll(pattern)].map(match => match[0]);

/** The arithmetic that ops are made of knows no op. It stands beside them, since that is where its readers look. */
const ARITHMETIC = /^src\/ops\/(?:numerics|half|hadamard|nibbles)\.ts$/;

/** `src/ops/fwht.ts` → `ops`, `src/op.ts` → `op`. */
function room(path: string): string {
  if (ARITHMETIC.test(path)) return 'arithmetic';
  if (path.startsWith('src/backends/exec/')) return 'exec';
  const [top, first] = path.split('/');
  return top === 'src' ? first.replace(/\.ts$/, '') : top === 'web' ? 'pages' : top;
}

/** The rooms from the ground up, and what each may import besides itself; after the bar only as types. */
const MAY_IMPORT: Readonly<Record<string, string>> = {
  once: '',
  'group-by': '',
  tensor: '',
  arithmetic: 'tensor',
  state: 'tensor arithmetic',
  signature: 'tensor',
  op: 'tensor signature state',
  ops: 'tensor arithmetic op',
  graph: 'tensor signature state op',
  formats: 'tensor',
  plan: 'tensor signature state op ops graph formats',
  executable: 'tensor graph plan',
  sequences: 'tensor state ops graph plan executable',
  run: 'tensor state op graph plan executable sequences',
  turn: '',
  batches: 'tensor executable turn',
  model: 'tensor ops graph formats',
  quant: 'once tensor arithmetic state ops graph formats plan executable run model',
  backends: 'once tensor signature arithmetic state op ops graph plan executable sequences run',
  exec: 'tensor signature state op formats plan run backends',
  session: 'tensor state graph formats plan executable batches',
  text: 'once tensor arithmetic formats | session',
  hub: 'formats model',
  open: 'once batches graph formats plan executable model quant backends session text hub',
  gguf: 'tensor arithmetic ops graph formats model',
  random: 'tensor state graph formats plan model quant',
  eval: 'group-by tensor state ops graph formats plan executable model quant session text open',
  conformance:
    'once group-by tensor signature arithmetic state op ops graph formats plan executable sequences batches run model quant backends session text open',
  library:
    'tensor arithmetic op ops graph formats plan executable sequences run model quant backends session text open eval',
  web: 'tensor formats executable quant session text open library',
  index: 'formats open library',
  serve: 'formats plan open text',
  cli: 'serve tensor state op graph formats plan executable model quant backends exec text hub open gguf random eval conformance',
  // outside of src; scripts and programs of bench take what they need from dist
  assembly: 'backends',
  pages: 'arithmetic ops model quant backends open eval web',
  scripts: 'golden',
  bench: 'scripts',
};

function wrongDirection(source: Source): string[] {
  const { path } = source;
  const here = room(path);
  if (MAY_IMPORT[here] === undefined)
    return [`${path}: the room ${here} has no row in MAY_IMPORT; give it one`];
  const [values, types = ''] = MAY_IMPORT[here].split('|').map(words => words.trim().split(' '));
  return importsOf(source).flatMap(({ from, typeOnly }) => {
    const target = targetOf(path, from);
    if (target === undefined || /^dist\//.test(target)) return [];
    const there = room(target);
    if (there === here || values.includes(there) || (typeOnly && types.includes(there))) return [];
    return [`${path}: ${here} may not import ${typeOnly ? 'types of ' : ''}${there} ('${from}')`];
  });
}

/** `src/eval/report/svg.ts` → `src/eval/report`, `src/eval`, `src`. */
function parents(path: string): string[] {
  const folder = posix.dirname(path);
  return folder === '.' ? [] : [folder, ...parents(folder)];
}

/** `linear-i8` → `linearI8`. */
const camel = (stem: string): string => stem.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
const OP_HELPERS = ['numerics', 'hadamard', 'half', 'nibbles', 'list', 'index'];
const opFile = (path: string) =>
  /^src\/ops\/[^/]+\.ts$/.test(path) && !OP_HELPERS.includes(basename(path, '.ts'));

const NODE_FILES =
  /^src\/(?:formats\/(?:disk|lock|undo)\.ts|open\/node\.ts|hub\/.*|backends\/cuda\/library\.ts|backends\/exec\/.*|conformance\/goldens\.ts|random\/write-checkpoint\.ts|serve\/.*|cli\/.*)$/;
const recipeFile = 'src/quant/recipes.ts';
const allRecipes: string[] = exists(recipeFile)
  ? Object.keys((await load(recipeFile)).recipes as object)
  : ['quamba'];
const quoted = (names: readonly string[]): string => `(['"\`])(?:${names.join('|')})\\1`;
// 'dynamic' is a recipe and a word of the schemes; as a word it is no recipe's name.
const schemeFile = 'src/quant/scheme.ts';
const schemes = exists(schemeFile) ? codeOf(read(schemeFile)) : '';
const recipeNames = allRecipes.filter(name => !new RegExp(quoted([name])).test(schemes));

const rules: Rule[] = [
  {
    says: 'imports go one way, and every room has a direction',
    applies: isRuled,
    breaches: wrongDirection,
    planted: [
      { path: 'src/tensor.ts', text: `import { defineOp } from './op.ts';` },
      { path: 'src/ops/numerics.ts', text: `import { defineOp } from '../op.ts';` },
      { path: 'src/ops/fwht.ts', text: `import type { Backend } from '../backends/backend.ts';` },
      { path: 'src/ops/fwht.ts', text: `export * from '../graph.ts';` },
      {
        path: 'src/model/mamba.ts',
        text: `import {\n  recipes,\n  type Recipe,\n} from '../quant/recipes.ts';`,
      },
      { path: 'src/backends/wasm/wasm.ts', text: `const { lower } = await import('../../quant/lower.ts');` },
      { path: 'src/backends/reference.ts', text: `import type { MambaConfig } from '../model/mamba.ts';` },
      { path: 'src/backends/index.ts', text: `export { execBackend } from './exec/index.ts';` },
      { path: 'src/backends/exec/index.ts', text: `import { UsageError } from '../../cli/terminal.ts';` },
      {
        path: 'src/backends/exec/worker.mjs',
        text: `import { Unsupported } from '../../conformance/case.ts';`,
      },
      { path: 'src/text/generate.ts', text: `import { Session } from '../session.ts';` },
      { path: 'src/quant/lower.ts', text: `import '../session.ts';` },
      {
        path: 'src/eval/report/svg.ts',
        text: `import { escapeXml } from '../../conformance/report/junit.ts';`,
      },
      {
        path: 'src/conformance/cases/gate.ts',
        text: `type Sums = import('../../eval/perplexity.ts').WindowSums;`,
      },
      { path: 'src/index.ts', text: `export { main } from './cli/main.ts';` },
      { path: 'src/new-part/file.ts', text: `import type { Tensor } from '../tensor.ts';` },
      { path: 'assembly/add.ts', text: `import { add } from '../src/ops/add';` },
      { path: 'web/src/main.ts', text: `import { load } from 'lib/cli/main.ts';` },
      { path: 'scripts/x.mjs', text: `import { ops } from '../src/ops/index.ts';` },
    ],
  },
  {
    says: 'only disk.ts, lock.ts, undo.ts, open/node.ts, the hub, the loader of the CUDA library, backends/exec, the goldens and the cli know Node',
    applies: path => isSource(path) && !NODE_FILES.test(path),
    breaches: source =>
      importsOf(source)
        .filter(({ from }) => from.startsWith('node:') || builtinModules.includes(from))
        .map(({ from }) => `${source.path}: imports '${from}'`),
    planted: [
      { path: 'src/session.ts', text: `import { readFileSync } from 'node:fs';` },
      { path: 'src/session.ts', text: `import type { Stats } from 'fs';` },
      { path: 'src/session.ts', text: `const { Worker } = await import('node:worker_threads');` },
    ],
  },
  {
    says: 'an op file has at most 130 lines, any other source file 320',
    applies: isSource,
    breaches: ({ path, text }) => {
      const lines = text.trimEnd().split('\n').length;
      const most = opFile(path) ? 130 : 320;
      return lines > most ? [`${path}: ${lines} lines; at most ${most}`] : [];
    },
    planted: [
      { path: 'src/ops/fwht.ts', text: 'x\n'.repeat(131) },
      { path: 'src/ops/numerics.ts', text: 'x\n'.repeat(321) },
      { path: 'src/session.ts', text: 'x\n'.repeat(321) },
    ],
  },
  {
    says: 'no file is called utils',
    applies: isSource,
    breaches: ({ path }) =>
      /\/(?:utils?|helpers?|misc)(?:\.ts$|\/)/.test(path) ? [`${path}: name it by what it does`] : [],
    planted: [
      { path: 'src/utils.ts', text: '' },
      { path: 'src/quant/utils/scale.ts', text: '' },
    ],
  },
  {
    says: 'no code asks for a recipe by name',
    applies: path => isSource(path) && path !== recipeFile && !/^src\/(?:open\/node\.ts|cli\/)/.test(path),
    breaches: source =>
      found(source, new RegExp(quoted(recipeNames), 'g')).map(
        name => `${source.path}: ${name} belongs in ${recipeFile} only`,
      ),
    planted: recipeNames.map(name => ({
      path: 'src/quant/lower.ts',
      text: `if (recipe.name === '${name}') return;`,
    })),
  },
  {
    says: 'the cli and open/node.ts may offer a recipe, but not branch on its name',
    applies: path => /^src\/(?:open\/node\.ts|cli\/.*\.ts)$/.test(path),
    breaches: source =>
      found(source, new RegExp(`(?:[!=]==?|\\bcase)\\s*${quoted(allRecipes)}`, 'g')).map(
        branch => `${source.path}: branches, ${branch}`,
      ),
    planted: allRecipes.flatMap(name => [
      { path: 'src/open/node.ts', text: `if (recipe === '${name}') return;` },
      { path: 'src/cli/main.ts', text: `switch (recipe) { case "${name}": }` },
    ]),
  },
  {
    says: 'bits that must not depend on the engine use no engine-defined function',
    applies: path => /^src\/(?:ops|backends(?!\/exec)|text(?!\/logits))\/.*\.ts$/.test(path),
    breaches: source =>
      found(
        source,
        /\bMath\.(?:a?(?:sin|cos|tan)h?|atan2|cbrt|exp|expm1|hypot|log|log10|log1p|log2|pow|random)\b|\*\*=?/g,
      ).map(use => `${source.path}: ${use}`),
    planted: [
      'Math.exp(x)',
      'Math.log1p(x)',
      'Math.pow(2, n)',
      'Math.tanh(x)',
      'Math.random()',
      '2 ** n',
    ].map(use => ({
      path: 'src/ops/silu.ts',
      text: `/** Not Math.sqrt(x), which is exact. */\nconst y = ${use};`,
    })),
  },
  {
    says: 'nothing reaches a terminal but by cli/terminal.ts, which escapes it, except for the text that a model writes',
    applies: path => isSource(path) && path !== 'src/cli/terminal.ts',
    breaches: source => {
      const writes = found(source, /\bprocess\.std(?:out|err)\.write\b|\bconsole\.\w+/g);
      const isText = (write: string) =>
        /^src\/cli\/(?:generate|chat)\.ts$/.test(source.path) && write === 'process.stdout.write';
      return writes.filter(write => !isText(write)).map(write => `${source.path}: ${write}`);
    },
    planted: [
      { path: 'src/cli/main.ts', text: 'process.stderr.write(error.message);' },
      { path: 'src/cli/generate.ts', text: 'process.stderr.write(recipe);' },
      { path: 'src/open/plan.ts', text: 'console.warn(name);' },
    ],
  },
  {
    says: 'the project names no path of a machine',
    applies: path => !/\.(?:safetensors|gz|npy|wasm|png|ico)$/.test(path),
    breaches: ({ path, text }) => {
      const own = /(?<![\w.~@)}\]:-])\/(?:(?:tmp|root|mnt|opt)\b(?![-.])|(?:home|Users)\/\w+)[^\s'"`]*/g;
      return [...text.matchAll(own)].map(([name]) => `${path}: ${name}`);
    },
    planted: [
      ['', 'mnt', 'x'],
      ['', 'tmp', 'x.json'],
      ['', 'home', 'me'],
      ['', 'root'],
    ].map(steps => ({ path: 'docs/x.md', text: `see ${steps.join('/')}, and so on` })),
  },
];

describe('structure', () => {
  for (const { says, applies, breaches, planted } of rules) {
    it(says, () => {
      expect(paths.filter(applies).map(read).flatMap(breaches)).toEqual([]);
      for (const breach of planted) {
        expect(applies(breach.path), breach.path).toBe(true);
        expect(breaches(breach), `planted: ${breach.path}: ${breach.text.slice(0, 80)}`).not.toEqual([]);
      }
    });
  }

  const ruled = paths.filter(isRuled).map(read);
  it('no file imports itself by way of others', () => {
    expect(circlesOf(arrowsOf(ruled))).toEqual([]);
    const planted = [
      { path: 'src/quant/a.ts', text: `import { b } from './b.ts';` },
      { path: 'src/quant/b.ts', text: `export type { C } from '../c.ts';` },
      { path: 'src/c.ts', text: `const { a } = await import('./quant/a.ts');` },
    ];
    expect(circlesOf(arrowsOf(planted))).toEqual([
      'src/quant/a.ts → src/quant/b.ts → src/c.ts → src/quant/a.ts',
    ]);
    expect(circlesOf(arrowsOf([{ path: 'src/a.ts', text: `import './a.ts';` }]))).toEqual([
      'src/a.ts → src/a.ts',
    ]);
  });

  /** What a file is in a folder: one of its files, or one of its folders. In src it is a room. */
  const within =
    (folder: string) =>
    (path: string): string | undefined =>
      !path.startsWith(`${folder}/`)
        ? undefined
        : folder === 'src' && !path.startsWith('src/backends/')
          ? room(path)
          : path.slice(folder.length + 1).split('/')[0];
  const folders = [...new Set(ruled.flatMap(({ path }) => parents(path)))];
  it('there is no circle among the files and folders of a folder', () => {
    expect(folders.flatMap(folder => circlesOf(arrowsOf(ruled, within(folder))))).toEqual([]);
    for (const folder of folders) {
      const planted = [
        { path: `${folder}/a/one.ts`, text: `import '../b/one.ts';` },
        { path: `${folder}/b/two.ts`, text: `import '../a/two.ts';` },
      ];
      expect(circlesOf(arrowsOf(planted, within(folder))), folder).toEqual(['a → b → a']);
    }
  });

  it.skipIf(!exists('src/ops/index.ts'))(
    'src/ops/index.ts lists exactly the op files, under their names',
    async () => {
      const stems = paths.filter(opFile).map(path => basename(path, '.ts'));
      const { ops } = (await load('src/ops/index.ts')) as { ops: Record<string, { name: string }> };
      const listed = Object.entries(ops).map(([key, op]) => [key, op.name]);
      expect(listed.sort()).toEqual(stems.map(stem => [camel(stem), stem]).sort());
      for (const stem of stems) {
        const exported = await load(`src/ops/${stem}.ts`);
        expect(exported[camel(stem)], `src/ops/${stem}.ts exports ${camel(stem)}`).toBe(ops[camel(stem)]);
        for (const op of Object.values(exported))
          if (isOp(op)) expect(op.name, `op in src/ops/${stem}.ts`).toBe(stem);
      }
    },
  );

  const models = paths.filter(path => basename(path) === 'SHA256SUMS');
  it.each(models)('%s holds', sums => {
    const folder = posix.dirname(sums);
    const lines = readFileSync(join(root, sums), 'utf8').trim().split('\n');
    const stated = Object.fromEntries(lines.map(line => line.split('  ').reverse()));
    const files = paths.filter(
      path => posix.dirname(path) === folder && !/(?:SHA256SUMS|README\.md)$/.test(path),
    );
    const actual = files.map(path => [
      basename(path),
      createHash('sha256')
        .update(readFileSync(join(root, path)))
        .digest('hex'),
    ]);
    expect(Object.fromEntries(actual)).toEqual(stated);
  });
});

const isOp = (value: unknown): value is { name: string } =>
  typeof value === 'function' && 'reference' in value;

function load(path: string): Promise<Record<string, unknown>> {
  return import(join(root, path));
}
