// Compiles assembly and src to dist, from nothing, so that no file of an older build stays.
import { execSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';

const begin = new Date();
const bin = 'dist/cli/main.js';
const kernels = 'dist/backends/wasm/kernels';

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist/backends/wasm', { recursive: true });
try {
  execSync('asc --config asconfig.json --target release', { stdio: 'inherit' });
  // As text, so that it loads in the same way, and at once, in Node, in a bundle and in a page.
  const base64 = readFileSync(`${kernels}.wasm`).toString('base64');
  writeFileSync(`${kernels}.js`, `export const KERNELS =\n  '${base64}';\n`);
  writeFileSync(`${kernels}.d.ts`, '/** kernels.wasm in base64. */\nexport declare const KERNELS: string;\n');
  execSync('tsc -p tsconfig.build.json --noEmitOnError', { stdio: 'inherit' });
} catch {
  process.exit(1);
}
if (existsSync(bin)) chmodSync(bin, 0o755);
// dist is as old as the sources it was read from: a file saved while tsc ran makes the next build.
utimesSync('dist', begin, begin);
