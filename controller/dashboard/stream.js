// The one live connection: an EventSource on /v1/events. The browser retries by itself; when it gives up (the controller
// answered with an error, or went away for good) this asks again with growing pauses, from the last event seen.

import { KINDS } from "./events.js";

const PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000];

export class Stream {
  #source = null;
  #failures = 0;
  #timer;

  /** `on`: `rack(view)`, `event(event)`, `state(name)`, `after()` the last event's number, `refused()` → may we retry? */
  constructor(on) {
    this.on = on;
  }

  /** Opens the connection. */
  open() {
    this.close();
    this.on.state(this.#failures === 0 ? "connecting" : "reconnecting");
    const source = new EventSource(`/v1/events?after=${this.on.after()}`);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#failures = 0;
      this.on.state("live");
    });
    source.addEventListener("rack", (message) => this.on.rack(JSON.parse(message.data)));
    for (const kind of KINDS) source.addEventListener(kind, (message) => this.on.event(JSON.parse(message.data)));
    source.addEventListener("error", () => this.#failed(source));
  }

  /** Closes the connection for good. */
  close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #failed(source) {
    if (source !== this.#source) return;
    this.on.state("reconnecting");
    if (source.readyState !== EventSource.CLOSED) return;
    const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)];
    this.#failures += 1;
    this.#timer = setTimeout(async () => {
      if (await this.on.refused()) this.open();
    }, pause);
  }
}
