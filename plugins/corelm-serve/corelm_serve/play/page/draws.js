// Draws of words, one after the other. A draw belongs to the state that asked for it.

export class Draws {
  constructor() {
    this.stop();
  }

  // Drop the draws on their way and those that wait: their replies belong to a state that is gone.
  stop() {
    this.controller?.abort();
    this.controller = new AbortController();
    this.last = Promise.resolve();
  }

  // Do `work(signal)` after the draws before it, unless they are stopped first.
  add(work) {
    const { signal } = this.controller;
    this.last = this.last.then(() => (signal.aborted ? undefined : work(signal)));
    return this.last;
  }
}
