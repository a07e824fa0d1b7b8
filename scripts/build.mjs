// Compiles src to dist, from nothing, so that no file of an older build stays.
import { execSync } from 'node:child_process';
import { chmodSync, existsSync, rmSync, utimesSync } from 'node:fs';

const begin = new Date();
const bin = 'dist/cli/main.js';

rmSync('dist', { recursive: true, force: true });
try {
  execSync('tsc -p tsconfig.build.json --noEmitOnError', { stdio: 'inherit' });
} catch {
  process.exit(1);
}
if (existsSync(bin)) chmodSync(bin, 0o755);
// dist is as old as the sources it was read from: a file saved while tsc ran makes the next build.
utimesSync('dist', begin, begin);
