/** Chromium without a window, and pages in it that may not complain. */
import { existsSync } from 'node:fs';
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core';
import { expect } from 'vitest';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ARGUMENTS =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync';

/** Why no test can run, as the end of a title; empty where they can. */
export const missing = existsSync(CHROMIUM)
  ? ''
  : `, skipped: there is no browser ${CHROMIUM} (the environment variable CHROMIUM names one)`;

/** Of what hangs, in milliseconds; a busy machine may take long for all else. */
const TIMEOUT = 600_000;

export const launch = (): Promise<Browser> =>
  chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS.split(' '), timeout: TIMEOUT });

/** A visitor of their own: cookies, caches, service workers. */
export async function visitor(
  browser: Browser,
  options: BrowserContextOptions = {},
): Promise<BrowserContext> {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(TIMEOUT);
  return context;
}

interface VisitOptions extends BrowserContextOptions {
  /** Complaints that belong to the visit. */
  readonly expected?: RegExp;
}

/** A visitor opens a page, does something there, and has seen no complaint. */
export async function visit(
  browser: Browser,
  url: string,
  use: (page: Page) => Promise<unknown>,
  { expected = /^$/, ...options }: VisitOptions = {},
): Promise<void> {
  const context = await visitor(browser, options);
  const page = await context.newPage();
  const complaints: string[] = [];
  const complain = (complaint: string) => {
    if (!expected.test(complaint)) complaints.push(complaint);
  };
  page.on('console', message => {
    if (/^(?:error|warning)$/.test(message.type())) complain(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', error => complain(`uncaught: ${error.message}`));
  page.on('response', response => {
    if (response.status() >= 400) complain(`${response.status()}: ${response.url()}`);
  });
  try {
    await page.goto(url);
    await use(page);
    expect(complaints).toEqual([]);
  } finally {
    await context.close();
  }
}
