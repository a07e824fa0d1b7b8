// Makes `npm start`, `npm test`, `npm pack` and an install from git work on a fresh clone: installs and builds, but only what is
// missing or out of date.
import { execSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  fail(`quamba needs Node.js 20.19 or newer; this is ${process.versions.node}.`);

// npm writes this file last, so an install that was cut off counts as none. The one that runs `prepare` has just been done.
const installed = 'node_modules/.package-lock.json';
const wanted = process.env.npm_lifecycle_event === 'prepare' ? 1 : time('package-lock.json');
if (time(installed) < wanted)
  run('installing the locked dependencies', 'npm ci --include=dev --no-audit --no-fund --loglevel=error');

// Folders count too: their time moves when a file goes away.
const sources = [
  'src',
  'assembly',
  'asconfig.json',
  'scripts/build.mjs',
  'tsconfig.json',
  'tsconfig.build.json',
];
if (time('dist') < Math.max(time(installed), ...sources.map(newest)))
  run('building dist', 'npm run --silent build');

/** Milliseconds of the last change; 0 where there is nothing. */
function time(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function newest(path) {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return time(path);
  return Math.max(time(path), ...readdirSync(path).map(name => newest(join(path, name))));
}

function run(what, command) {
  console.error(`quamba: ${what} (${command})`);
  try {
    execSync(command, { stdio: ['ignore', 2, 2] });
  } catch {
    fail(`quamba: ${what} failed.`);
  }
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
