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

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** A file of the project: its path from the root, with forward slashes, and its text. */
interface Source {
  readonly path: string;
  readonly text: string;
}
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
const read = (path: string): Source => ({ path, text: readFileSync(join(root, path), 'utf8') });
const exists = (path: string) => existsSync(join(root, path));
const isSource = (path: string) => /^src\/.*\.ts$/.test(path);

/** The text without comments; strings stay. */
const code = (text: string): string =>
  text.replace(/('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/.*/g, '$1');

const found = (text: string, pattern: RegExp): string[] =>
  [...code(text).matchAll(pattern)].map(match => match[0]);

interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
}
function imports(text: string): Import[] {
  const clause =
    /(?:import|export)(\s+type)?\s*(?:[\w$]+\s*,?\s*)?(?:\{[^}]*\}|\*(?:\s+as\s+[\w$]+)?)?\s*from\s*['"]([^'"]+)['"]/g;
  const bare = /\bimport\s*\(?\s*['"]([^'"]+)['"]/g;
  const source = code(text);
  return [
    ...[...source.matchAll(clause)].map(([, type, from]) => ({ from, typeOnly: type !== undefined })),
    ...[...source.matchAll(bare)].map(([, from]) => ({ from, typeOnly: false })),
  ];
}

/** What each part may import besides itself; after the bar only as types. What is not listed: anything but the cli. */
const MAY_IMPORT: Readonly<Record<string, string>> = {
  tensor: '',
  op: 'tensor',
  ops: 'tensor op',
  graph: 'tensor op ops',
  run: 'tensor op ops graph',
  plan: 'tensor op ops graph run formats',
  model: 'tensor op ops graph run formats',
  quant: 'tensor op ops graph run plan model formats',
  backends: 'tensor op ops graph run plan',
  formats: 'tensor',
  hub: 'formats model',
  exec: 'tensor op ops graph run plan conformance formats backends cli',
  text: 'tensor ops | formats session',
  session: 'tensor op ops graph run model quant backends formats',
};
/** `src/ops/fwht.ts` → `ops`, `src/op.ts` → `op`. */
const part = (path: string): string =>
  path.startsWith('src/backends/exec/') ? 'exec' : path.split('/')[1].replace(/\.ts$/, '');

function wrongDirection({ path, text }: Source): string[] {
  const here = part(path);
  return imports(text).flatMap(({ from, typeOnly }) => {
    if (!from.startsWith('.')) return [];
    const there = part(posix.join(posix.dirname(path), from));
    const [values, types = ''] = (MAY_IMPORT[here] ?? there).split('|');
    const allowed = `${values} ${typeOnly ? types : ''}`.split(' ');
    if (there === here || ((there !== 'cli' || here === 'exec') && allowed.includes(there))) return [];
    return [`${path}: ${here} may not import ${typeOnly ? 'types of ' : ''}${there} ('${from}')`];
  });
}

/** `linear-i8` → `linearI8`. */
const camel = (stem: string): string => stem.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
const OP_HELPERS = ['numerics', 'hadamard', 'half', 'nibbles', 'index'];
const opFile = (path: string) =>
  /^src\/ops\/[^/]+\.ts$/.test(path) && !OP_HELPERS.includes(basename(path, '.ts'));

const NODE_FILES =
  /^src\/(?:formats\/disk\.ts|open\/node\.ts|hub\/.*|backends\/cuda\/library\.ts|backends\/exec\/.*|conformance\/goldens\.ts|random\/write-checkpoint\.ts|cli\/.*)$/;
const recipeFile = 'src/quant/recipes.ts';
const allRecipes: string[] = exists(recipeFile)
  ? Object.keys((await load(recipeFile)).recipes as object)
  : ['quamba'];
const quoted = (names: readonly string[]): string => `(['"\`])(?:${names.join('|')})\\1`;
// 'dynamic' is a recipe and a word of the schemes; as a word it is no recipe's name.
const schemeFile = 'src/quant/scheme.ts';
const schemes = exists(schemeFile) ? code(read(schemeFile).text) : '';
const recipeNames = allRecipes.filter(name => !new RegExp(quoted([name])).test(schemes));

const rules: Rule[] = [
  {
    says: 'imports go one way: tensor → op → ops → graph → model → quant → session',
    applies: isSource,
    breaches: wrongDirection,
    planted: [
      { path: 'src/tensor.ts', text: `import { defineOp } from './op.ts';` },
      { path: 'src/ops/fwht.ts', text: `import type { Backend } from '../backends/backend.ts';` },
      { path: 'src/ops/fwht.ts', text: `export * from '../graph.ts';` },
      {
        path: 'src/model/mamba.ts',
        text: `import {\n  recipes,\n  type Recipe,\n} from '../quant/recipes.ts';`,
      },
      { path: 'src/backends/wasm/wasm.ts', text: `const { lower } = await import('../../quant/lower.ts');` },
      { path: 'src/backends/reference.ts', text: `import type { MambaConfig } from '../model/mamba.ts';` },
      { path: 'src/model/config.ts', text: `import { mamba } from '../model/mamba.ts';` },
      { path: 'src/text/generate.ts', text: `import { Session } from '../session.ts';` },
      { path: 'src/quant/lower.ts', text: `import '../session.ts';` },
      { path: 'src/index.ts', text: `export { main } from './cli/main.ts';` },
      { path: 'src/new-part/file.ts', text: `import type { Options } from '../cli/main.ts';` },
    ],
  },
  {
    says: 'only disk.ts, open/node.ts, the hub, the loader of the CUDA library, backends/exec, the goldens and the cli know Node',
    applies: path => isSource(path) && !NODE_FILES.test(path),
    breaches: ({ path, text }) =>
      imports(text)
        .filter(({ from }) => from.startsWith('node:') || builtinModules.includes(from))
        .map(({ from }) => `${path}: imports '${from}'`),
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
    breaches: ({ path, text }) =>
      found(text, new RegExp(quoted(recipeNames), 'g')).map(
        name => `${path}: ${name} belongs in ${recipeFile} only`,
      ),
    planted: recipeNames.map(name => ({
      path: 'src/quant/lower.ts',
      text: `if (recipe.name === '${name}') return;`,
    })),
  },
  {
    says: 'the cli and open/node.ts may offer a recipe, but not branch on its name',
    applies: path => /^src\/(?:open\/node\.ts|cli\/.*\.ts)$/.test(path),
    breaches: ({ path, text }) =>
      found(text, new RegExp(`(?:[!=]==?|\\bcase)\\s*${quoted(allRecipes)}`, 'g')).map(
        branch => `${path}: branches, ${branch}`,
      ),
    planted: allRecipes.flatMap(name => [
      { path: 'src/open/node.ts', text: `if (recipe === '${name}') return;` },
      { path: 'src/cli/main.ts', text: `switch (recipe) { case "${name}": }` },
    ]),
  },
  {
    says: 'bits that must not depend on the engine use no engine-defined function',
    applies: path => /^src\/(?:ops|backends(?!\/exec)|text(?!\/logits))\/.*\.ts$/.test(path),
    breaches: ({ path, text }) =>
      found(
        text,
        /\bMath\.(?:a?(?:sin|cos|tan)h?|atan2|cbrt|exp|expm1|hypot|log|log10|log1p|log2|pow|random)\b|\*\*=?/g,
      ).map(use => `${path}: ${use}`),
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
