/** The files that a page needs, from the project's folder, on a port of this machine. */
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

const SERVED = [
  '/dist/',
  '/models/mamba-books-15m/',
  '/node_modules/@huggingface/tokenizers/',
  '/node_modules/@noble/hashes/',
  '/test/page/',
];
/** A page takes modules from no other type. */
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
};

export interface Site {
  readonly address: string;
  close(): void;
}

export async function serve(headers: Readonly<Record<string, string>>): Promise<Site> {
  const server = createServer(({ url }, response) => {
    const { pathname } = new URL(url!, 'http://localhost');
    const file = SERVED.some(folder => pathname.startsWith(folder)) ? join(root, pathname) : root;
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return response.writeHead(404).end();
    response.writeHead(200, {
      ...headers,
      'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
    });
    return createReadStream(file).pipe(response);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => void server.close(),
  };
}
