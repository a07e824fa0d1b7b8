/** Folders of the project over HTTP, on a port of this machine, and a record of what was asked of them. */
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Memory is shared with workers only in a page that is isolated from other origins. */
export const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
} as const;

/** A page takes modules, sheets and service workers from no other type. */
const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.mjs': 'text/javascript',
};

export interface Asked {
  readonly method: string;
  readonly path: string;
  /** Of the answer's body. */
  readonly bytes: number;
}

export interface Site {
  readonly address: string;
  readonly asked: Asked[];
  close(): void;
}

/**
 * @param mounts for each beginning of an address (with a slash at its end) the folders, from the project's, that are looked
 *   through in this order
 */
export async function serve(
  mounts: Readonly<Record<string, string | readonly string[]>>,
  headers: Readonly<Record<string, string>> = {},
): Promise<Site> {
  const places = Object.entries(mounts).flatMap(([at, folders]) =>
    [folders].flat().map(folder => ({ at, folder: join(root, folder) })),
  );
  const find = (path: string) =>
    places
      .filter(({ at }) => path.startsWith(at))
      .map(({ at, folder }) => join(folder, path.slice(at.length).replace(/^$|\/$/, '$&index.html')))
      .map(file => ({ file, stat: statSync(file, { throwIfNoEntry: false }) }))
      .find(({ stat }) => stat?.isFile());
  const asked: Asked[] = [];
  const server = createServer(({ method = '', url }, response) => {
    const { pathname: path } = new URL(url!, 'http://localhost');
    const found = find(path);
    const size = found?.stat?.size ?? 0;
    asked.push({ method, path, bytes: method === 'HEAD' ? 0 : size });
    if (!found) return response.writeHead(404, headers).end();
    response.writeHead(200, {
      ...headers,
      'Content-Type': TYPES[extname(found.file)] ?? 'application/octet-stream',
      'Content-Length': size,
      'Last-Modified': found.stat!.mtime.toUTCString(),
      // What is kept is the page's own doing, not the browser's.
      'Cache-Control': 'no-store',
    });
    return method === 'HEAD' ? response.end() : createReadStream(found.file).pipe(response);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
