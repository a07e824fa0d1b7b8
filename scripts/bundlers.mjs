/**
 * The packed package as others take it: packs it, installs it beside each tool from npm in a folder of its own, lets the tool build
 * one small app, and runs that: a page with `quamba/web` in Chromium, a program with `quamba` on a server. Right is what gives the
 * hash of the logits that Node gives here. It takes the network, some minutes, and 3 GB of the disk meanwhile.
 *
 *   npm run test:bundlers [-- next|vite|webpack|esbuild|rollup|bun|deno …]
 *
 * The last line is `N passed, N failed`; what cannot run here is named as skipped, with the reason.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { chromium } from 'playwright-core';
import { EMBEDDED_MODEL, load } from '../dist/index.js';
import { ISOLATED, root, serve } from './serve.mjs';

/** As of this day, 2026-11-30. */
const VERSIONS = {
  '@rollup/plugin-node-resolve': '16.0.3',
  bun: '1.4.5',
  deno: '2.9.6',
  esbuild: '0.28.2',
  next: '16.4.6',
  react: '19.3.1',
  'react-dom': '19.3.1',
  rollup: '4.68.8',
  vite: '8.4.0',
  webpack: '5.113.0',
};
const TOKENS = [510, 1543, 3081, 7, 99, 1000];
const MODEL_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'plan.quamba.safetensors'];
const BROWSER = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** Milliseconds of what hangs. */
const TIMEOUT = 600_000;

/** @param {string} options of `load` */
const page = options => `import { load } from 'quamba/web';
export async function run() {
  try {
    const model = await load('/books', ${options});
    const session = await model.session();
    const { data } = await session.feed(${JSON.stringify(TOKENS)});
    const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
    const hash = [...sum].map(byte => byte.toString(16).padStart(2, '0')).join('');
    globalThis.answer = { hash, backend: model.backend, threads: model.about?.threads, notes: model.notes };
  } catch (error) {
    globalThis.answer = { error: error.message };
  }
}
`;
/** @param {string} path of the model, as code */
const program = path => `import { createHash } from 'node:crypto';
import process from 'node:process';
import { load } from 'quamba';
export async function answer() {
  const model = await load(${path}, { threads: 2 });
  const { data } = model.session().feed(${JSON.stringify(TOKENS)});
  const hash = createHash('sha256').update(new Uint8Array(data.buffer)).digest('hex');
  const { backend, executable, notes } = model;
  const { threads } = executable.about ?? {};
  model.dispose();
  return { hash, backend, threads, notes, runs: process.versions.bun ?? process.versions.deno ?? process.version };
}
`;
const PRINT = "import { answer } from './answer.js';\nconsole.log(JSON.stringify(await answer()));\n";
const HTML =
  '<!doctype html><title>quamba</title><link rel="icon" href="data:,"><script type="module" src="./main.js"></script>';
const PAGE = {
  'index.html': HTML,
  'main.js': "import { run } from './page.js';\nrun();\n",
  'page.js': page('{ threads: 2 }'),
};
/** In a bundle the module is not where the package is, so it is told where the model is. */
const BUNDLED = { 'server.js': PRINT, 'answer.js': program("'node_modules/quamba/models/mamba-books-15m'") };
const INSTALLED = { 'server.js': PRINT, 'answer.js': program('undefined') };

/**
 * What a tool needs, how it builds, and what then runs: `page`, a folder to serve; `server`, a program that prints its answer.
 *
 * @type {Readonly<Record<string, { needs: string[], files: Record<string, string>, build?: string[][], page?: string, server?: string[] }>>}
 */
const TOOLS = {
  next: {
    needs: ['next', 'react', 'react-dom'],
    files: {
      'app/layout.js': 'export default ({ children }) => <html lang="en"><body>{children}</body></html>;\n',
      'app/page.js':
        "'use client';\nimport { useEffect } from 'react';\nimport { run } from './run.js';\nexport default function Page() {\n  useEffect(() => void run(), []);\n}\n",
      'app/run.js': page('{ threads: 2 }'),
      'app/answer/answer.js': program('undefined'),
      'app/answer/route.js':
        "import { answer } from './answer.js';\nexport const dynamic = 'force-dynamic';\nexport const GET = async () => Response.json(await answer());\n",
    },
    build: [['next', 'build']],
  },
  vite: {
    needs: ['vite'],
    files: { ...PAGE, ...BUNDLED },
    build: [
      ['vite', 'build'],
      ['vite', 'build', '--ssr', 'server.js', '--outDir', 'server'],
    ],
    page: 'dist',
    server: ['node', 'server/server.js'],
  },
  webpack: {
    needs: ['webpack'],
    files: {
      ...PAGE,
      ...BUNDLED,
      'build.js': `import webpack from 'webpack';
const path = import.meta.dirname;
const common = { mode: 'production', performance: { hints: false } };
webpack(
  [
    { ...common, entry: './main.js', output: { path: path + '/dist', filename: 'main.js' } },
    { ...common, target: 'node', experiments: { outputModule: true }, entry: './server.js', output: { path: path + '/server', filename: 'server.mjs', module: true } },
  ],
  (error, stats) => {
    if (error || stats.hasErrors() || stats.hasWarnings()) {
      console.error(error ?? stats.toString('errors-warnings'));
      process.exitCode = 1;
    }
  },
);
`,
    },
    build: [['node', 'build.js']],
    page: 'dist',
    server: ['node', 'server/server.mjs'],
  },
  esbuild: {
    needs: ['esbuild'],
    files: { ...PAGE, ...BUNDLED, 'page.js': page("{ threads: 2, worker: '/of/quamba.js' }") },
    build: [
      ['esbuild', 'main.js', '--bundle', '--format=esm', '--outdir=dist'],
      ['esbuild', 'quamba/web/worker', '--bundle', '--format=esm', '--outfile=dist/of/quamba.js'],
      ['esbuild', 'server.js', '--bundle', '--format=esm', '--platform=node', '--outdir=server'],
    ],
    page: 'dist',
    server: ['node', 'server/server.js'],
  },
  rollup: {
    needs: ['rollup', '@rollup/plugin-node-resolve'],
    files: {
      ...PAGE,
      ...BUNDLED,
      'rollup.config.js': `import { nodeResolve } from '@rollup/plugin-node-resolve';
const onwarn = warning => { throw new Error(warning.message); };
export default [
  { input: { main: 'main.js', worker: 'quamba/web/worker' }, plugins: [nodeResolve({ browser: true })], onwarn, output: { dir: 'dist' } },
  { input: 'server.js', plugins: [nodeResolve()], external: /^node:/, onwarn, output: { dir: 'server' } },
];
`,
    },
    build: [['rollup', '-c']],
    page: 'dist',
    server: ['node', 'server/server.js'],
  },
  bun: {
    needs: ['bun'],
    files: { ...PAGE, ...INSTALLED },
    build: [
      [
        'bun',
        'build',
        'main.js',
        'node_modules/quamba/dist/web/worker.js',
        '--outdir',
        'dist',
        '--entry-naming',
        '[name].js',
      ],
    ],
    page: 'dist',
    server: ['bun', 'server.js'],
  },
  deno: {
    needs: ['deno'],
    files: INSTALLED,
    server: ['deno', 'run', '--no-prompt', '--allow-read', '--allow-env', '--allow-sys', 'server.js'],
  },
};

const named = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(TOOLS);
const unknown = named.find(name => !Object.hasOwn(TOOLS, name));
if (unknown !== undefined) {
  console.error(`bundlers: no tool '${unknown}'; expected ${Object.keys(TOOLS).join(', ')}`);
  process.exit(2);
}
const total = { passed: 0, failed: 0 };
const work = mkdtempSync(join(tmpdir(), 'quamba-bundlers-'));
const model = await load();
const { data } = model.session().feed(TOKENS);
const expected = createHash('sha256').update(data).digest('hex');
model.dispose();
/** @type {import('playwright-core').Browser | undefined} */
let browser;
try {
  const pack = ['pack', '--silent', '--pack-destination', work];
  const packed = execFileSync('npm', pack, { cwd: root, encoding: 'utf8' }).trim().split('\n').at(-1) ?? '';
  for (const name of named) await judge(name, packed);
} finally {
  await browser?.close();
  rmSync(work, { recursive: true, force: true, maxRetries: 5 });
}
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);

/**
 * @param {string} name of the tool
 * @param {string} packed the file of the package
 */
async function judge(name, packed) {
  const { needs, files, build = [], page: pages, server } = TOOLS[name];
  const folder = join(work, name);
  const manifest = { 'package.json': '{ "type": "module", "private": true }' };
  for (const [file, text] of Object.entries({ ...manifest, ...files })) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  const title = `${name} ${VERSIONS[name]}`;
  const PATH = `${folder}/node_modules/.bin:${process.env.PATH}`;
  const env = { ...process.env, PATH, NEXT_TELEMETRY_DISABLED: '1' };
  /** @param {readonly string[]} words */
  const call = ([command = '', ...args]) =>
    execFileSync(command, args, { cwd: folder, env, encoding: 'utf8', timeout: TIMEOUT, stdio: 'pipe' });
  const versions = needs.map(each => `${each}@${VERSIONS[each]}`);
  try {
    call([
      ...'npm install --no-audit --no-fund --loglevel=error'.split(' '),
      join(work, packed),
      ...versions,
    ]);
  } catch (error) {
    const why = /npm error code ((?:ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH|E40|ETARGET)\w*)/.exec(
      error.stderr,
    );
    if (why) return console.log(`${title} · skipped: npm does not get it here (${why[1]})`);
    return tell(title, { error: error.stderr || error.message });
  }
  try {
    for (const command of build) call(command);
    if (name === 'next') await asNext(title, folder, env);
    if (pages) {
      cpSync(join(folder, 'index.html'), join(folder, pages, 'index.html'), { force: false });
      const site = await serve({ '/': join(folder, pages), '/books/': EMBEDDED_MODEL }, ISOLATED);
      await look(title, site.address).finally(site.close);
    }
    if (server) tell(`${title} · server`, JSON.parse(call(server)));
  } catch (error) {
    tell(title, { error: error.stderr || error.stdout || error.message });
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Next.js serves its page and its route by itself. */
async function asNext(title, folder, env) {
  for (const file of MODEL_FILES) cpSync(join(EMBEDDED_MODEL, file), join(folder, 'public/books', file));
  const probe = await serve({});
  const { port } = new URL(probe.address);
  probe.close();
  const child = spawn('next', ['start', '--port', port], {
    cwd: folder,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    for await (const text of child.stdout) if (/Ready/.test(`${text}`)) break;
    const address = `http://localhost:${port}`;
    tell(`${title} · server`, await (await fetch(`${address}/answer`)).json());
    await look(title, address);
  } finally {
    process.kill(-(child.pid ?? 0));
  }
}

async function look(title, address) {
  if (!existsSync(BROWSER)) {
    console.log(
      `${title} · page · skipped: there is no browser ${BROWSER} (the environment variable CHROMIUM names one)`,
    );
    return;
  }
  browser ??= await chromium.launch({
    executablePath: BROWSER,
    args: ['--headless', '--no-sandbox', '--disable-gpu'],
  });
  const view = await browser.newPage();
  try {
    await view.goto(address);
    await view.waitForFunction('globalThis.answer', undefined, { timeout: TIMEOUT });
    tell(`${title} · page`, await view.evaluate('globalThis.answer'));
  } finally {
    await view.close();
  }
}

/** @param {{ hash?: string, backend?: string, threads?: number, runs?: string, notes?: string[], error?: string }} answer */
function tell(what, answer) {
  const { hash, backend, threads, runs, notes = [], error } = answer;
  const isSame = hash === expected;
  total[isSame ? 'passed' : 'failed']++;
  const ran = [backend, `threads: ${threads}`, runs, ...notes].filter(Boolean).join(', ');
  console.log(`${what} · ${isSame ? 'the same bits' : 'OTHER BITS, OR NONE'} · ${error ?? ran}`);
}
