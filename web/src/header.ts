/** What every page begins with: a way to its content and to the other pages. */
import './style.css';
import { SITE } from './site.ts';

const PAGES = [
  ['index.html', 'Write'],
  ['inside.html', 'Look inside'],
  ['lessons/selective-scan.html', '1 The scan'],
  ['lessons/per-tensor.html', '2 Why int8 breaks'],
  ['lessons/clipping.html', '3 Clipping'],
  ['lessons/hadamard.html', '4 Hadamard'],
  ['lessons/integer-plan.html', '5 The integer plan'],
  ['lessons/mamba-2.html', '6 Mamba-2'],
] as const;

const header = document.createElement('header');
const skip = Object.assign(document.createElement('a'), {
  className: 'skip',
  href: '#main',
  textContent: 'To the content',
});
const nav = document.createElement('nav');
nav.setAttribute('aria-label', 'Pages');
nav.append(Object.assign(document.createElement('strong'), { textContent: 'quamba' }));
for (const [page, title] of PAGES) {
  const link = Object.assign(document.createElement('a'), {
    href: new URL(page, SITE).href,
    textContent: title,
  });
  const here = location.pathname.replace(/\/$/, '/index.html');
  if (new URL(page, SITE).pathname === here) link.setAttribute('aria-current', 'page');
  nav.append(link);
}
header.append(skip, nav);
document.body.prepend(header);
