/**
 * The logits of every recipe in Firefox and in WebKitGTK, where they are installed, against golden/hashes.json, on one thread and
 * on two. No driver is needed: a page computes the hashes and tells them to the server that it came from. Chromium has tests of its
 * own (npm run test:web).
 *
 *   npm run test:browsers
 *
 * Looks for firefox or firefox-esr on the PATH, and for WebKitGTK's MiniBrowser, which needs xvfb-run (Debian: firefox-esr,
 * libwebkit2gtk-4.1-0, xvfb). The last line is `N passed, N failed`; what is not there is named as skipped.
 */
import { spawn } from 'node:child_process';
import { createReadStream, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EMBEDDED_MODEL } from '../dist/index.js';
import { known } from '../golden/hashes.mjs';

/** Those that a page can make of the files that come with the model. */
const RECIPES = Object.keys(known.logits).filter(recipe => !known.calibrated.includes(recipe));
/** How long a browser may say nothing, in milliseconds. */
const TIMEOUT = 600_000;
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json' };
const root = fileURLToPath(new URL('..', import.meta.url));
const FOLDERS = {
  '/quamba/': join(root, 'dist/browser'),
  '/books/': EMBEDDED_MODEL,
  '/': join(root, 'scripts/other-browsers'),
};

const onPath = name =>
  process.env.PATH.split(delimiter)
    .map(folder => join(folder, name))
    .find(existsSync);
const firefox = onPath('firefox') ?? onPath('firefox-esr');
const miniBrowser = (existsSync('/usr/lib') ? readdirSync('/usr/lib') : [])
  .map(folder => `/usr/lib/${folder}/webkit2gtk-4.1/MiniBrowser`)
  .find(existsSync);
const xvfb = onPath('xvfb-run');
const BROWSERS = [
  {
    name: 'Firefox',
    skipped: firefox ? '' : 'there is no firefox and no firefox-esr on the PATH',
    command: (url, profile) => [firefox, '--headless', '--no-remote', '--profile', profile, url],
  },
  {
    name: 'WebKitGTK',
    skipped: !miniBrowser
      ? 'there is no webkit2gtk-4.1/MiniBrowser'
      : xvfb
        ? ''
        : 'there is no xvfb-run on the PATH',
    command: url => [xvfb, '-a', miniBrowser, url],
  },
];

const total = { passed: 0, failed: 0 };
const present = BROWSERS.filter(({ name, skipped }) => {
  if (skipped) console.log(`${name} · skipped: ${skipped}`);
  return !skipped;
});
for (const browser of present) await judge(browser);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed === 0 ? 0 : 1);

async function judge({ name, command }) {
  let finish;
  const finished = new Promise(resolve => {
    finish = resolve;
  });
  const answers = [];
  const server = createServer((request, response) => {
    if (request.method === 'POST') return void reported(request, response);
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/asked')
      return void response.end(
        JSON.stringify({ recipes: RECIPES, text: known.text, positions: known.positions }),
      );
    const mount = Object.keys(FOLDERS).find(path => pathname.startsWith(path));
    const file = join(FOLDERS[mount], pathname === '/' ? 'index.html' : pathname.slice(mount.length));
    const found = statSync(file, { throwIfNoEntry: false });
    if (!found?.isFile()) return void response.writeHead(404).end();
    response.writeHead(200, {
      ...HEADERS,
      'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
    });
    if (request.method === 'HEAD') response.end();
    else createReadStream(file).pipe(response);
  });
  const reported = async (request, response) => {
    const answer = await new Response(request).json();
    response.end();
    if ('done' in answer || 'error' in answer) return finish(answer);
    answers.push(answer);
    timer.refresh();
  };
  await new Promise(listening => server.listen(0, '127.0.0.1', listening));
  const profile = mkdtempSync(join(tmpdir(), 'quamba-browser-'));
  const [program, ...given] = command(`http://localhost:${server.address().port}/`, profile);
  // A group of its own, so that what the browser starts ends with it.
  const child = spawn(program, given, { stdio: 'ignore', detached: true });
  child.on('error', error => finish({ error: error.message }));
  const timer = setTimeout(() => finish({ error: `no answer for ${TIMEOUT / 1000} s` }), TIMEOUT);
  const end = await finished;
  clearTimeout(timer);
  try {
    process.kill(-child.pid);
  } catch {
    // it has ended by itself
  }
  server.close();
  server.closeAllConnections();
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });

  if ('error' in end) {
    total.failed++;
    console.log(`${name} · failed: ${end.error}`);
  } else console.log(`${name} · ${end.done}`);
  for (const recipe of RECIPES) {
    const mine = answers.filter(answer => answer.recipe === recipe);
    const isSame = mine.length === 2 && mine.every(({ hash }) => hash === known.logits[recipe]);
    total[isSame ? 'passed' : 'failed']++;
    const ran = mine.map(({ got, kernels }) => `${kernels}, ${got} ${got === 1 ? 'thread' : 'threads'}`);
    console.log(
      `${name} · ${recipe} · ${isSame ? 'the same bits' : 'OTHER BITS, OR NONE'} · ${[...new Set(ran)].join('; ')}`,
    );
  }
}
