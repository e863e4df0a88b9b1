// Follows one request's stream to its end, through lost connections and restarts of the server. Sends the request first where it was not
// taken yet: the same request with the same id is never a second one.

import { EventParser } from "./event_parser.mjs";
import { ServerError } from "./server.mjs";

const SILENCE_MS = 20_000; // the server says something every 5 s
const LONGEST_WAIT_S = 15;

// Why a connection was let go of.
class Resting extends Error {}

export class Follower {
  #server;
  #entry;
  #request;
  #report;
  #stop = new AbortController();
  #connection = null;
  #failures = 0;
  #isResting = false;
  #wake = () => {};

  // `entry`: {id, isTaken}; `request`: {path, body}, or null. `report` has the methods onTaken(), onEvent(id, data), onConnected(),
  // onWaiting(seconds, reason).
  constructor(server, entry, request, report) {
    this.#server = server;
    this.#entry = entry;
    this.#request = request;
    this.#report = report;
  }

  // Returns when the stream is over; a ServerError when there is none, or no more. AbortError after leave().
  async run() {
    let last = 0;
    const retryNow = () => this.retryNow();
    addEventListener("online", retryNow);
    try {
      while (true) {
        while (this.#mayRest) await this.#untilWoken();
        try {
          last = await this.#follow(last);
          if (last === null) return;
          await this.#wait(null, "The connection ended");
        } catch (error) {
          if (this.#stop.signal.aborted) throw this.#stop.signal.reason;
          if (error instanceof ServerError && !error.isPassing && !(await this.#mayComeBack(error))) throw error;
          last = error.lastEvent ?? last;
          if (!(error instanceof Resting))
            await this.#wait(error.retryAfterS, error instanceof ServerError ? error.message : "The server cannot be reached");
        }
      }
    } finally {
      removeEventListener("online", retryNow);
    }
  }

  // Nothing more is read; the server writes on.
  leave() {
    this.#stop.abort();
  }

  retryNow() {
    this.#wake();
  }

  // Lets go of the connection until goOn(): a browser has six to a server, for all of its tabs, and the server writes on. What the
  // server has not taken yet is sent all the same.
  rest() {
    this.#isResting = true;
    if (this.#mayRest) this.#connection?.abort(new Resting());
  }

  goOn() {
    this.#isResting = false;
    this.#wake();
  }

  get #mayRest() {
    return this.#isResting && this.#entry.isTaken;
  }

  // The number of the last event, where the connection was lost; null when the stream is over.
  async #follow(last) {
    this.#connection = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, this.#connection.signal]);
    const response = await this.#open(last, signal);
    if (!this.#entry.isTaken) this.#report.onTaken();
    this.#report.onConnected();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    try {
      if (this.#mayRest) throw new Resting();
      while (true) {
        const { done, value } = await this.#orSilence(reader.read());
        if (done) return last;
        for (const { id, data } of parser.push(value)) {
          if (isServerLeaving(data)) return last;
          this.#failures = 0;
          this.#report.onEvent(id, data);
          last = id;
          if (isEnd(data)) return null;
        }
      }
    } catch (error) {
      error.lastEvent = last;
      throw error;
    } finally {
      this.#connection.abort();
    }
  }

  #open(last, signal) {
    if (this.#entry.isTaken || this.#request === null)
      return this.#server.fetch(`v1/streams/${encodeURIComponent(this.#entry.id)}?from=${last + 1}`, { signal });
    const { path, body } = this.#request;
    return this.#server.fetch(path, {
      method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
    });
  }

  // A connection may be dead without a word, after a sleep of the machine for one.
  async #orSilence(reading) {
    const timer = setTimeout(() => this.#connection.abort(new TypeError("silence")), SILENCE_MS);
    try {
      return await reading;
    } finally {
      clearTimeout(timer);
    }
  }

  // A server that is not up knows no stream yet.
  async #mayComeBack(error) {
    if (error.status !== 404) return false;
    const status = await this.#server.json("status.json").catch(() => null);
    return status === null || !status.ready;
  }

  async #wait(retryAfterS, reason) {
    const seconds = waitAfter(this.#failures++, retryAfterS, Math.random());
    this.#report.onWaiting(seconds, reason);
    await this.#untilWoken(seconds);
  }

  async #untilWoken(seconds = null) {
    let timer = null;
    try {
      await new Promise((resolve, reject) => {
        if (seconds !== null) timer = setTimeout(resolve, seconds * 1000);
        this.#wake = resolve;
        this.#stop.signal.addEventListener("abort", () => reject(this.#stop.signal.reason));
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

// Longer after each failure; never all clients at once. What the server asks for is the least.
export function waitAfter(failures, retryAfterS, random) {
  const backoffS = Math.min(0.25 * 2 ** failures, LONGEST_WAIT_S);
  return (retryAfterS ?? 0) + backoffS * (0.5 + random / 2);
}

function isEnd(data) {
  return data === "[DONE]" || data.startsWith('{"error"');
}

// A server that stops says so in passing: the stream goes on with the next.
function isServerLeaving(data) {
  return data.startsWith('{"error"') && JSON.parse(data).error.type === "service_unavailable_error";
}
