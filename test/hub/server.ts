/**
 * A server on this machine that serves models as the Hugging Face hub does: the API of revisions and trees (in pages), small
 * files by itself, large ones by a redirect to another server, ranges, ETags, codes of errors; and that can fail on demand.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Repo = Readonly<Record<string, Uint8Array>>;

export interface Hub {
  readonly endpoint: string;
  readonly requests: {
    readonly path: string;
    readonly range?: string;
    readonly token?: string;
    readonly cdn: boolean;
  }[];
  /** What goes wrong; to be changed at will. */
  readonly faults: Faults;
  readonly commit: string;
  close(): Promise<void>;
}

export interface Faults {
  /** The body of each answer for a large file breaks after so many bytes, so many times. */
  breakAfter?: number;
  breaks?: number;
  /** Whether the reader has so many bytes of the file: only then the connection breaks, since what is under way is lost. */
  arrived?: (bytes: number) => boolean;
  /** What a large file is served as. */
  bytes?: (original: Uint8Array) => Uint8Array;
  noRanges?: boolean;
  /** Answers this status instead of a large file, so many times. */
  status?: number;
  statuses?: number;
  /** The API wants this token. */
  token?: string;
  gated?: boolean;
  /** What the API says of the revision. */
  api?: string;
  /** Answers itself where it returns true. */
  answer?: (request: IncomingMessage, response: ServerResponse, kind: string) => boolean;
  /** More entries of the tree. */
  entries?: readonly object[];
}

const hex = (kind: string, ...parts: (string | Uint8Array)[]): string => {
  const hash = createHash(kind);
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};
export const sha256 = (bytes: Uint8Array): string => hex('sha256', bytes);
export const gitSha1 = (bytes: Uint8Array): string => hex('sha1', `blob ${bytes.length}\0`, bytes);

const LARGE = /\.(?:safetensors|bin)$/;
const PAGE = 2;

export async function startHub(repos: Readonly<Record<string, Repo>>): Promise<Hub> {
  const faults: Faults = {};
  const requests: Hub['requests'] = [];
  const commit = hex('sha1', 'a commit');
  const blobs = new Map<string, Uint8Array>();
  for (const repo of Object.values(repos))
    for (const bytes of Object.values(repo)) blobs.set(sha256(bytes), bytes);

  const note = (request: IncomingMessage, cdn: boolean) => {
    const { range, authorization: token } = request.headers;
    requests.push({ path: request.url!, cdn, ...(range && { range }), ...(token && { token }) });
  };

  function send(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array, large: boolean): void {
    const range = faults.noRanges ? null : /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
    const begin = range ? Number(range[1]) : 0;
    if (begin > bytes.length) {
      response.writeHead(416).end();
      return;
    }
    const part = bytes.subarray(begin);
    const headers: Record<string, string> = {
      'content-length': String(part.length),
      'accept-ranges': 'bytes',
    };
    if (range) headers['content-range'] = `bytes ${begin}-${bytes.length - 1}/${bytes.length}`;
    response.writeHead(range ? 206 : 200, headers);
    if (large && faults.breaks && part.length > faults.breakAfter!) {
      faults.breaks--;
      response.write(part.subarray(0, faults.breakAfter));
      const timer = setInterval(() => {
        if (!faults.arrived?.(begin + faults.breakAfter!)) return;
        clearInterval(timer);
        response.destroy();
      }, 5);
    } else response.end(part);
  }

  const cdn = await listen((request, response) => {
    note(request, true);
    const original = blobs.get(request.url!.slice(1))!;
    if (faults.statuses) {
      faults.statuses--;
      response.writeHead(faults.status!).end();
    } else send(request, response, faults.bytes?.(original) ?? original, true);
  });

  const hub = await listen((request, response) => {
    note(request, false);
    const json = (value: unknown, more = {}) =>
      response.writeHead(200, { 'content-type': 'application/json', ...more }).end(JSON.stringify(value));
    const error = (status: number, code: string) =>
      response
        .writeHead(status, { 'x-error-code': code, 'content-type': 'application/json' })
        .end('{"error":"x"}');
    const url = new URL(request.url!, hub.url);
    const [, api, name, kind, revision, rest = ''] =
      /^(?:\/(api)\/models)?\/([^/]+\/[^/]+)\/(revision|tree|resolve)\/([^/]+)\/?(.*)$/.exec(url.pathname) ??
      [];
    const repo = repos[name];
    if (faults.answer?.(request, response, kind)) return;
    if (!repo) return error(401, 'RepoNotFound');
    if (faults.token && request.headers.authorization !== `Bearer ${faults.token}`)
      return error(401, 'RepoNotFound');
    if (faults.gated && kind === 'resolve') return error(403, 'GatedRepo');
    if (!['main', 'v1', commit].includes(revision)) return error(404, 'RevisionNotFound');
    if (api && faults.api) return response.writeHead(200, { 'content-type': 'text/html' }).end(faults.api);
    if (kind === 'revision')
      return json({ _id: '1', id: name, sha: commit, lastModified: '2024-03-06T00:00:00.000Z' });
    if (kind === 'tree') {
      const entries = [
        { type: 'directory', oid: '0'.repeat(40), size: 0, path: 'runs' },
        ...(faults.entries ?? []),
        ...Object.entries(repo).map(([path, bytes]) => ({
          type: 'file',
          oid: gitSha1(bytes),
          size: bytes.length,
          path,
          ...(LARGE.test(path) && {
            lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 },
            xetHash: 'f'.repeat(64),
          }),
        })),
      ];
      const from = Number(url.searchParams.get('cursor') ?? 0);
      url.searchParams.set('cursor', String(from + PAGE));
      const next = from + PAGE < entries.length ? { link: `<${url.href}>; rel="next"` } : {};
      return json(entries.slice(from, from + PAGE), next);
    }
    const bytes = repo[rest];
    if (!bytes) return error(404, 'EntryNotFound');
    if (!LARGE.test(rest)) return send(request, response, bytes, false);
    const location = `${cdn.url}/${sha256(bytes)}`;
    return response
      .writeHead(302, { location, 'x-linked-etag': `"${sha256(bytes)}"`, 'x-repo-commit': commit })
      .end();
  });

  return {
    endpoint: hub.url,
    requests,
    faults,
    commit,
    close: async () => {
      await Promise.all([hub.close(), cdn.close()]);
    },
  };
}

type Listener = (request: IncomingMessage, response: ServerResponse) => unknown;

async function listen(listener: Listener): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server: Server = createServer(listener);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
