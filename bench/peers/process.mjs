/** An engine in a process of its own (child.mjs), called from here. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A call that takes longer, in milliseconds, has hung. */
const TIMEOUT = 300_000;

/** A process with one engine; `call` rejects with what it said, also when it dies or hangs. */
export function startPeer() {
  const child = fork(fileURLToPath(new URL('child.mjs', import.meta.url)), {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  /** @type {Record<'accept' | 'reject', (value: any) => void> | undefined} */
  let waiting;
  const settle = (how, value) => {
    waiting?.[how](value);
    waiting = undefined;
  };
  child.on('message', (/** @type {any} */ { answer, failure }) =>
    failure === undefined ? settle('accept', answer) : settle('reject', new Error(`failed: ${failure}`)),
  );
  child.on('exit', (code, signal) =>
    settle('reject', new Error(`ended with ${signal ?? `exit code ${code}`}`)),
  );
  return {
    call: (call, ...given) =>
      new Promise((accept, reject) => {
        const limit = setTimeout(
          () => settle('reject', new Error(`gave no answer in ${TIMEOUT / 1000} s`)),
          TIMEOUT,
        );
        const end = settled => value => {
          clearTimeout(limit);
          settled(value);
        };
        waiting = { accept: end(accept), reject: end(reject) };
        child.send({ call, given });
      }),
    kill: () => child.kill(),
  };
}
