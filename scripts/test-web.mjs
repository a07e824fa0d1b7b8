/**
 * The library and the playground in a real browser, Chromium: builds web/dist, then runs the tests of test-web/. The last line
 * is `N passed, N failed`. Without a browser it says so, skips them all and exits with 0.
 *
 *   npm run test:web [-- [options] [file of test-web …]]
 *
 *   --screenshots DIR    a picture of every page, to look at
 *   --report FILE        vitest's report as JSON
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { counts } from './report.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const { values, positionals } = parseArgs({
  options: { screenshots: { type: 'string' }, report: { type: 'string' } },
  allowPositionals: true,
});
const browser = process.env.CHROMIUM ?? '/usr/bin/chromium';
const there = existsSync(browser);
const node = (script, ...args) => execFileSync(process.execPath, [script, ...args], { stdio: 'inherit' });

if (there) {
  node('scripts/web-assets.mjs');
  node('node_modules/vite/bin/vite.js', 'build', 'web', '--logLevel', 'warn');
}
const work = mkdtempSync(join(tmpdir(), 'quamba-test-web-'));
const report = values.report ? resolve(values.report) : join(work, 'report.json');
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config=test-web/vitest.config.ts'];
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
const pictures = values.screenshots && { SCREENSHOTS: resolve(values.screenshots) };
spawnSync(process.execPath, [...vitest, ...reporters, ...positionals], {
  stdio: 'inherit',
  env: { ...process.env, ...pictures },
});
const { passed, failed, skipped } = counts(report);
rmSync(work, { recursive: true });
if (there) console.log(`${passed} passed, ${failed} failed`);
else {
  console.log(`skipped: there is no browser ${browser} (the environment variable CHROMIUM names one)`);
  console.log(`0 passed, 0 failed, ${skipped} skipped`);
}
process.exit(failed === 0 && (passed > 0 || !there) ? 0 : 1);
