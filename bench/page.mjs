/** A page of headless Chromium for measurements: isolated from other origins, with the files that it may fetch. */
import { createReadStream, existsSync, mkdtempSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ARGUMENTS =
  '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync';
const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};
/** Threads need a page that is isolated from other origins. */
const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/**
 * @param paths files by their address; one that ends in a slash is a folder. What is not among them is an empty page.
 * @param work folder for the browser's profile, which the caller removes
 */
export async function openPage(paths, work = tmpdir()) {
  if (!existsSync(CHROMIUM))
    throw new Error(`there is no browser ${CHROMIUM} (the environment variable CHROMIUM names one)`);
  const folders = Object.keys(paths).filter(path => path.endsWith('/'));
  const fileOf = path => {
    const folder = folders.find(folder => path.startsWith(folder) && path !== folder);
    return paths[path] ?? (folder && join(paths[folder], path.slice(folder.length)));
  };
  const server = createServer(({ method, url }, response) => {
    const { pathname } = new URL(url, 'http://localhost');
    const file = pathname === '/' ? undefined : fileOf(pathname);
    const stat = file && statSync(file, { throwIfNoEntry: false });
    response.writeHead(file && !stat?.isFile() ? 404 : 200, {
      ...ISOLATED,
      'Content-Type': TYPES[extname(pathname)] ?? (file ? 'application/octet-stream' : 'text/html'),
      ...(stat?.isFile() && { 'Content-Length': stat.size, 'Last-Modified': stat.mtime.toUTCString() }),
    });
    if (!file) response.end('<!doctype html><title>bench</title>');
    else if (!stat?.isFile() || method === 'HEAD') response.end();
    else createReadStream(file).pipe(response);
  });
  await new Promise(listening => server.listen(0, '127.0.0.1', listening));
  const address = `http://127.0.0.1:${server.address().port}`;
  let context;
  const close = async () => {
    await context?.close();
    server.close();
    server.closeAllConnections();
  };
  try {
    context = await chromium.launchPersistentContext(mkdtempSync(join(work, 'browser-')), {
      executablePath: CHROMIUM,
      headless: true,
      args: ARGUMENTS.split(' '),
    });
    const page = await context.newPage();
    await page.goto(`${address}/`);
    return { page, address, about: `Chromium ${context.browser()?.version()}`, close };
  } catch (error) {
    await close();
    throw error;
  }
}
