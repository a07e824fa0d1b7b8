/** A page of headless Chromium for measurements: isolated from other origins, with the files that it may fetch. */
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { ISOLATED, serve } from '../scripts/serve.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ARGUMENTS =
  '--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync';

/**
 * @param {Record<string, string>} paths files by their address; one that ends in a slash is a folder
 * @param work folder for the browser's profile, which the caller removes
 */
export async function openPage(paths, work = tmpdir()) {
  if (!existsSync(CHROMIUM))
    throw new Error(`there is no browser ${CHROMIUM} (the environment variable CHROMIUM names one)`);
  const site = await serve(paths, ISOLATED, { '/': () => '<!doctype html><title>bench</title>' });
  /** @type {import('playwright-core').BrowserContext | undefined} */
  let context;
  const close = async () => {
    await context?.close();
    site.close();
  };
  try {
    context = await chromium.launchPersistentContext(mkdtempSync(join(work, 'browser-')), {
      executablePath: CHROMIUM,
      headless: true,
      args: ARGUMENTS.split(' '),
    });
    const page = await context.newPage();
    await page.goto(`${site.address}/`);
    return { page, address: site.address, about: `Chromium ${context.browser()?.version()}`, close };
  } catch (error) {
    await close();
    throw error;
  }
}
