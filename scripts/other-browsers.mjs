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
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { EMBEDDED_MODEL } from '../dist/index.js';
import { known } from '../golden/hashes.mjs';
import { ISOLATED, serve } from './serve.mjs';

/** Those that a page can make of the files that come with the model. */
const RECIPES = Object.keys(known.logits).filter(recipe => !known.calibrated.includes(recipe));
/** How long a browser may say nothing, in milliseconds. */
const TIMEOUT = 600_000;
const FOLDERS = { '/quamba/': 'dist/browser', '/books/': EMBEDDED_MODEL, '/': 'scripts/other-browsers' };

const onPath = name =>
  (process.env.PATH ?? '')
    .split(delimiter)
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
    skipped:
      (miniBrowser ? '' : 'there is no webkit2gtk-4.1/MiniBrowser') ||
      (xvfb ? '' : 'there is no xvfb-run on the PATH'),
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
  const site = await serve(FOLDERS, ISOLATED, {
    '/asked': () => JSON.stringify({ recipes: RECIPES, text: known.text, positions: known.positions }),
    async '/report'(request) {
      const answer = JSON.parse((await request.toArray()).join(''));
      if ('done' in answer || 'error' in answer) finish(answer);
      else answers.push(answer);
      timer.refresh();
      return '';
    },
  });
  const profile = mkdtempSync(join(tmpdir(), 'quamba-browser-'));
  const [program, ...given] = command(`${site.address.replace('127.0.0.1', 'localhost')}/`, profile);
  // A group of its own, so that what the browser starts ends with it.
  const child = spawn(program, given, { stdio: 'ignore', detached: true });
  child.on('error', error => finish({ error: error.message }));
  const timer = setTimeout(() => finish({ error: `no answer for ${TIMEOUT / 1000} s` }), TIMEOUT);
  const end = await finished;
  clearTimeout(timer);
  try {
    if (child.pid) process.kill(-child.pid);
  } catch {
    // it has ended by itself
  }
  site.close();
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
