/**
 * quamba in a page of headless Chromium, on one thread with the embedded model: how fast it decodes beside Node, in interleaved
 * rounds; and the playground as it is built, on a second visit: how soon the first token is there, and how long its main
 * thread is busy at a time while the model writes.
 *
 *   npm run web:build && node bench/web.mjs --help
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { machine, median } from '../dist/cli/measure.js';
import { printAs } from '../dist/cli/terminal.js';
import { wholeFrom } from '../dist/cli/values.js';
import { EMBEDDED_MODEL, load } from '../dist/index.js';
import { align } from '../dist/plan/render.js';
import { program } from './options.mjs';
import { openPage } from './page.mjs';

const PROMPT = 'The old man looked out of the window and saw';
const BARS = { decodeRatio: 0.8, firstTokenSeconds: 1.5, longestTaskMilliseconds: 50 };

const command = program('web.mjs', 'quamba in a page beside Node, and the playground as it is built.', [
  '',
  '--rounds 21 --visits 9 --json',
])
  .option('--rounds <n>', 'rounds, page and Node in turn; medians are printed', wholeFrom(1), 9)
  .option('--tokens <n>', 'tokens of a round', wholeFrom(1), 128)
  .option('--visits <n>', 'visits to the playground', wholeFrom(1), 5)
  .parse();
const { rounds, tokens, visits, json } = command.opts();
const options = { maxTokens: tokens, temperature: 0 };
const folder = path => fileURLToPath(new URL(`../${path}/`, import.meta.url));
if (!existsSync(folder('web/dist'))) command.error('web: there is no web/dist; run npm run web:build');

const work = mkdtempSync(join(tmpdir(), 'quamba-bench-web-'));
let browser;
try {
  const paths = {
    '/quamba/': folder('dist/browser'),
    '/model/': EMBEDDED_MODEL,
    '/site/': folder('web/dist'),
  };
  browser = await openPage(paths, work);
  const decode = await decodeBeside(browser.page);
  const site = await playground(browser);
  const report = { ...machine(), browser: browser.about, rounds, visits, ...options, ...decode, ...site };
  printAs(json, report, () => table(report));
} catch (error) {
  console.error(`web: ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
  rmSync(work, { recursive: true, force: true });
}

/** Both as their reader sees it: from the first token that arrives to the last. */
async function decodeBeside(page) {
  const node = await load();
  const inPage = await page.evaluate(async () => {
    const { load } = await import('/quamba/quamba.js');
    globalThis.model = await load('/model');
    return globalThis.model.about.kernels;
  });
  /** @type {Record<'page' | 'node', number[]>} */
  const speeds = { page: [], node: [] };
  for (let round = -2; round < rounds; round++) {
    const one = await page.evaluate(
      `(${speed})(model, ${JSON.stringify(PROMPT)}, ${JSON.stringify(options)})`,
    );
    const other = await speed(node, PROMPT, options);
    if (round < 0) continue; // warm-up
    speeds.page.push(one);
    speeds.node.push(other);
  }
  const { kernels } = node.executable.about ?? {};
  node.dispose();
  await page.evaluate(() => globalThis.model.dispose());
  return {
    kernels: { page: inPage, node: kernels },
    decodeTokensPerSecond: { page: median(speeds.page), node: median(speeds.node) },
    decodeRatio: median(speeds.page.map((speed, round) => speed / speeds.node[round])),
  };
}

/** Tokens for each second; runs in Node and, as text, in the page. */
async function speed(model, prompt, options) {
  let first;
  let last;
  let count = 0;
  for await (const _ of model.generate(prompt, options)) {
    last = performance.now();
    first ??= last;
    count++;
  }
  return ((count - 1) / (last - first)) * 1000;
}

/** Visits the playground, which writes of its own accord; the first time fills the cache and does not count. */
async function playground({ page, address }) {
  await page.addInitScript(observe, PROMPT.length);
  const found = [];
  for (let visit = -1; visit < visits; visit++) {
    await page.goto(`${address}/site/index.html`);
    await page.waitForFunction(() => globalThis.seen.quiet() > 1000);
    const { firstToken, tasks } = await page.evaluate(() => globalThis.seen);
    if (visit < 0) continue;
    const longest = begins =>
      Math.max(0, ...tasks.filter(({ start }) => begins(start)).map(task => task.duration));
    found.push({
      firstToken: firstToken / 1000,
      loading: longest(start => start < firstToken),
      writing: longest(start => start >= firstToken),
    });
  }
  const all = key => found.map(visit => visit[key]);
  return {
    firstTokenSeconds: median(all('firstToken')),
    longestTaskMilliseconds: Math.max(...all('writing')),
    longestTaskWhileLoadingMilliseconds: Math.max(...all('loading')),
  };
}

/** In the page, before its own scripts: when the text first grew beyond its prompt, and what kept the main thread busy. */
function observe(promptLength) {
  /** @type {{ tasks: { start: number, duration: number }[], firstToken?: number, last?: number, quiet?: () => number }} */
  const seen = { tasks: [] };
  globalThis.seen = seen;
  seen.quiet = () => (seen.last === undefined ? 0 : performance.now() - seen.last);
  new PerformanceObserver(list => {
    for (const { startTime: start, duration } of list.getEntries()) seen.tasks.push({ start, duration });
  }).observe({ type: 'longtask', buffered: true });
  let before = promptLength;
  new MutationObserver(() => {
    const { length } = document.querySelector('[aria-live]')?.textContent ?? '';
    if (length <= before) return;
    before = length;
    seen.last = performance.now();
    seen.firstToken ??= seen.last;
  }).observe(document, { subtree: true, childList: true, characterData: true });
}

function table(report) {
  const { decodeTokensPerSecond: decode, decodeRatio, firstTokenSeconds } = report;
  const writing = report.longestTaskMilliseconds;
  const milliseconds = longest => (longest === 0 ? 'none over 50 ms' : `${longest.toFixed(0)} ms`);
  return [
    `${report.cpu}; Node ${report.node} (${report.kernels.node}); ${report.browser} (${report.kernels.page}); ${report.date}; ${rounds} rounds, ${visits} visits`,
    align([
      ['what', 'measured', 'bar'],
      ['decode in the page, tokens/s', decode.page.toFixed(1), ''],
      ['decode in Node, tokens/s', decode.node.toFixed(1), ''],
      ['page / Node', decodeRatio.toFixed(3), `>= ${BARS.decodeRatio}`],
      ['first token of a second visit', `${firstTokenSeconds.toFixed(2)} s`, `< ${BARS.firstTokenSeconds} s`],
      ['longest task while it writes', milliseconds(writing), `<= ${BARS.longestTaskMilliseconds} ms`],
      ['longest task while it loads', milliseconds(report.longestTaskWhileLoadingMilliseconds), ''],
    ]),
  ].join('\n');
}
