// Compiles assembly and src to dist, from nothing, so that no file of an older build stays.
import { exec, execSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { rolldown } from 'rolldown';

const begin = new Date();
const bin = 'dist/cli/main.js';
const kernels = 'dist/backends/wasm/kernels';
const { targets } = JSON.parse(readFileSync('asconfig.json', 'utf8'));

rmSync('dist', { recursive: true, force: true });
mkdirSync(kernels, { recursive: true });
try {
  await Promise.all(Object.keys(targets).map(assemble));
  // As text, so that it loads in the same way, and at once, in Node, in a bundle and in a page.
  const texts = Object.entries(targets).map(
    ([target, { outFile }]) => `  '${target}':\n    '${readFileSync(outFile).toString('base64')}',\n`,
  );
  writeFileSync(`${kernels}.js`, `export const KERNELS = {\n${texts.join('')}};\n`);
  const names = Object.keys(targets).map(target => `'${target}'`);
  writeFileSync(
    `${kernels}.d.ts`,
    `/** The wasm files of kernels/ in base64. */\nexport declare const KERNELS: Readonly<Record<${names.join(' | ')}, string>>;\n`,
  );
  execSync('tsc -p tsconfig.build.json --noEmitOnError', { stdio: 'inherit' });
  await bundle();
} catch (error) {
  if (error.status === undefined) console.error(error.message); // a command has said it itself
  process.exit(1);
}
if (existsSync(bin)) chmodSync(bin, 0o755);
// dist is as old as the sources it was read from: a file saved while tsc ran makes the next build.
utimesSync('dist', begin, begin);

/** The library and its worker with all that they need, for a page without a bundler. */
async function bundle() {
  const input = { quamba: 'dist/web/index.js', worker: 'dist/web/worker.js' };
  const names = { entryFileNames: '[name].js', chunkFileNames: 'shared.js' };
  const build = await rolldown({ input, platform: 'browser' });
  await build.write({ dir: 'dist/browser', ...names, minify: true });
  await build.close();
}

/** Compiles one variant of the kernels; what it complains of goes to stderr. */
async function assemble(target) {
  const compiled = promisify(exec)(`asc --config asconfig.json --target ${target}`);
  const { stderr } = await compiled.catch(error => {
    process.stderr.write(error.stderr);
    throw error;
  });
  process.stderr.write(stderr);
}
