/** Folders of the project over HTTP, on a port of this machine, and a record of what was asked of them. */
import { once } from 'node:events';
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Memory is shared with workers only in a page that is isolated from other origins. */
export const ISOLATED = /** @type {const} */ ({
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
});

/** @type {Readonly<Record<string, string>>} a page takes modules, sheets and service workers from no other type */
const TYPES = {
  '': 'text/html; charset=utf-8',
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

/**
 * @typedef {{ method: string, path: string, bytes: number }} Asked `bytes`: of the answer's body
 * @typedef {{ address: string, asked: Asked[], close: () => void }} Site
 * @typedef {(request: import('node:http').IncomingMessage) => string | Promise<string>} Answer
 */

/**
 * @param {Readonly<Record<string, string | readonly string[]>>} mounts for each beginning of an address (with a slash at its end)
 *   the folders, from the project's, that are looked through in this order; for a whole address the file
 * @param {Readonly<Record<string, string>>} headers
 * @param {Readonly<Record<string, Answer>>} answers what is said at whole addresses in place of a file
 * @returns {Promise<Site>}
 */
export async function serve(mounts, headers = {}, answers = {}) {
  const places = Object.entries(mounts).flatMap(([at, folders]) =>
    [folders].flat().map(folder => ({ at, isFolder: at.endsWith('/'), place: resolve(root, folder) })),
  );
  const find = /** @param {string} path */ path =>
    places
      .filter(({ at, isFolder }) => (isFolder ? path.startsWith(at) : path === at))
      .map(({ at, isFolder, place }) =>
        isFolder ? join(place, path.slice(at.length).replace(/^$|\/$/, '$&index.html')) : place,
      )
      .map(file => ({ file, stat: statSync(file, { throwIfNoEntry: false }) }))
      .find(({ stat }) => stat?.isFile());
  /** @type {Asked[]} */
  const asked = [];
  const server = createServer(async (request, response) => {
    const { method = '', url = '' } = request;
    const { pathname: path } = new URL(url, 'http://localhost');
    if (Object.hasOwn(answers, path)) {
      const said = await answers[path](request);
      response.writeHead(200, { ...headers, 'Content-Type': TYPES[extname(path)] });
      return response.end(said);
    }
    const found = find(path);
    const size = found?.stat?.size ?? 0;
    asked.push({ method, path, bytes: method === 'HEAD' ? 0 : size });
    if (!found) return response.writeHead(404, headers).end();
    response.writeHead(200, {
      ...headers,
      'Content-Type': TYPES[extname(found.file)] ?? 'application/octet-stream',
      'Content-Length': size,
      'Last-Modified': found.stat?.mtime.toUTCString(),
      // What is kept is the page's own doing, not the browser's.
      'Cache-Control': 'no-store',
    });
    return method === 'HEAD' ? response.end() : createReadStream(found.file).pipe(response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    address: `http://127.0.0.1:${port}`,
    asked,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
