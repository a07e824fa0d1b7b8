/**
 * Isolation from other origins where the server sends no such headers, as on GitHub Pages: a service worker adds them, and the
 * page is loaded once more, this time by way of it. This file is both: the script of a page, and that worker.
 */
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
/** When the page was loaded once more. One that is not isolated so soon after that will not be: there is no loop. */
const TRIED = 'quamba-isolate';
const SOON = 5000;

if (globalThis.document) void inPage(document.currentScript.src);
else addEventListener('fetch', inWorker);

async function inPage(worker) {
  try {
    const tried = Date.now() - sessionStorage.getItem(TRIED) < SOON;
    if (crossOriginIsolated || tried || !navigator.serviceWorker) return;
    const { serviceWorker } = navigator;
    // After a reload past the worker it is there already, and in Chromium registering it again gives no answer.
    await Promise.race([serviceWorker.ready, serviceWorker.register(worker).then(() => serviceWorker.ready)]);
    sessionStorage.setItem(TRIED, Date.now());
    location.reload();
  } catch (error) {
    // The page works without: on one thread, which it says.
    console.info(`isolate.js: ${error.message}`);
  }
}

function inWorker(event) {
  const { request } = event;
  if (new URL(request.url).origin === location.origin) event.respondWith(withHeaders(request));
}

async function withHeaders(request) {
  const response = await fetch(request);
  if (response.type !== 'basic') return response; // a redirection, which the browser follows itself
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}
