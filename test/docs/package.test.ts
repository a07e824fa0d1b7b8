/** The package as it is packed: what its pages link to is there. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { linksIn } from './markdown.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

it('every link of every page leads to a file or a folder of it', () => {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const [{ files }] = JSON.parse(
    execFileSync('npm', args, { cwd: root, encoding: 'utf8', stdio: 'pipe', maxBuffer: 1 << 28 }),
  );
  const packed: readonly string[] = files.map(({ path }: { path: string }) => path);
  const pages = packed.filter(path => path.endsWith('.md'));
  expect(pages).toEqual(expect.arrayContaining(['README.md', 'CHANGELOG.md', 'docs/browser.md']));
  const isThere = (path: string) => packed.some(file => file === path || file.startsWith(`${path}/`));
  const lost = pages.flatMap(page =>
    linksIn(readFileSync(join(root, page), 'utf8'))
      .map(link => posix.join(posix.dirname(page), link).replace(/\/$/, ''))
      .filter(path => !isThere(path))
      .map(path => `${page} → ${path}`),
  );
  expect(lost).toEqual([]);
});
