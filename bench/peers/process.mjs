/** An engine in a process of its own (child.mjs), called from here. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A call that takes longer, in milliseconds, has hung. */
const TIMEOUT = 300_000;

/** A process with one engine; `call` rejects with what it said, also when it dies or hangs. */
export function startPeer() {
  const child = fork(fileURLToPath(new URL('child.mjs', import.meta.url)), {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`ended with ${signal ?? `exit code ${code}`}`);
  });
  ended.catch(() => {}); // whoever calls it is told
  return {
    async call(call, ...given) {
      const signal = AbortSignal.timeout(TIMEOUT);
      const answered = once(child, 'message', { signal }).catch(error => {
        throw signal.aborted ? new Error(`gave no answer in ${TIMEOUT / 1000} s`) : error;
      });
      child.send({ call, given });
      const [{ answer, failure }] = await Promise.race([answered, ended]);
      if (failure !== undefined) throw new Error(`failed: ${failure}`);
      return answer;
    },
    kill: () => child.kill(),
  };
}
