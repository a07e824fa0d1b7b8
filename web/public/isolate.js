/**
 * Isolation from other origins where the server sends no such headers, as on GitHub Pages: a service worker adds them, and the
 * page is loaded once more, this time by way of it. This file is both: the script of a page, and that worker.
 */
const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};
/** Set while a page loads once more. One that finds it set and is still not isolated will never be. */
const TRIED = 'quamba-isolate';

if (globalThis.document) void inPage(document.currentScript.src);
else addEventListener('fetch', inWorker);

async function inPage(worker) {
  try {
    const tried = sessionStorage.getItem(TRIED);
    sessionStorage.removeItem(TRIED);
    if (crossOriginIsolated || tried || !navigator.serviceWorker) return;
    await navigator.serviceWorker.register(worker);
    await navigator.serviceWorker.ready;
    sessionStorage.setItem(TRIED, 'true');
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
