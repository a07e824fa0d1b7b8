/** The state of a text where a backend keeps it, as a value: it is copied out when somebody looks at it, or must not lose it. */
import type { Ref } from '../graph.ts';
import type { State } from '../run.ts';

export interface Keeper {
  /** Brings a state in, where it mostly is already, and parts with the one that is there, which is kept unless it is given up. */
  takeIn(state: State, giveUp: boolean): void;
  /** What is there, from now on, as a value. */
  hold(): State;
  /** From now on something else is there. */
  leave(): void;
}

/** `copyOut` makes a value of what is there, `copyIn` puts another in its place. */
export function keeper(refs: ReadonlySet<Ref>, copyOut: () => State, copyIn: (state: State) => void): Keeper {
  let held: Held | undefined;
  return {
    takeIn(state, giveUp) {
      const isThere = held?.state === state;
      if (!(isThere && giveUp)) held?.keep();
      held?.leave();
      held = undefined;
      if (!isThere) copyIn(state);
    },
    hold() {
      held = hold(refs, copyOut);
      return held.state;
    },
    leave() {
      held?.keep();
      held?.leave();
      held = undefined;
    },
  };
}

interface Held {
  readonly state: State;
  keep(): void;
  leave(): void;
}

function hold(refs: ReadonlySet<Ref>, copyOut: () => State): Held {
  let copy: State | undefined;
  let here = true;
  const keep = () => {
    if (here) copy ??= copyOut();
  };
  const look = (ref: Ref) => {
    keep();
    if (!copy) throw new Error('state: was given up when it was fed on');
    return copy[ref];
  };
  const has = (ref: PropertyKey): ref is Ref => refs.has(ref as Ref);
  // a property for every state would take longer to make than a token of a small model (measured)
  const state: State = new Proxy<State>(
    {},
    {
      get: (_, ref) => (has(ref) ? look(ref) : undefined),
      has: (_, ref) => has(ref),
      ownKeys: () => [...refs],
      getOwnPropertyDescriptor: (_, ref) =>
        has(ref) ? { value: look(ref), enumerable: true, configurable: true } : undefined,
    },
  );
  return {
    state,
    keep,
    leave() {
      here = false;
    },
  };
}
