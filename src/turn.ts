/** Lets timers, input, aborts and promises have their turn. (setTimeout waits 1 ms and more, setImmediate is in Node only.) */
export function turn(): Promise<void> {
  return new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
