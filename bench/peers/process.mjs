/** An engine in a process of its own (child.mjs), called from here. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A call that takes longer has hung. */
const PATIENCE = 300_000;

/** A process with one engine; `call` rejects with what it said, also when it dies or hangs. */
export function startPeer() {
  const child = fork(fileURLToPath(new URL('child.mjs', import.meta.url)), {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  let waiting;
  const settle = (how, value) => {
    waiting?.[how](value);
    waiting = undefined;
  };
  child.on('message', ({ answer, failure }) =>
    failure === undefined ? settle('accept', answer) : settle('reject', new Error(`failed: ${failure}`)),
  );
  child.on('exit', (code, signal) =>
    settle('reject', new Error(`ended with ${signal ?? `exit code ${code}`}`)),
  );
  return {
    call: (call, ...given) =>
      new Promise((accept, reject) => {
        const limit = setTimeout(
          () => settle('reject', new Error(`gave no answer in ${PATIENCE / 1000} s`)),
          PATIENCE,
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
