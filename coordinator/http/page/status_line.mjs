// How the server is, in a line, asked again every few seconds while anybody looks.

const READY_MS = 5000;
const NOT_READY_MS = 1000;
const LATE_MS = 4000;

const at = (id) => document.getElementById(id);

export class StatusLine extends EventTarget {
  #server;
  #attention;
  #timer = null;

  // Fires "status" with {ready, obstacle}: why nothing can be written now, or "".
  constructor(server, attention) {
    super();
    this.#server = server;
    this.#attention = attention;
    attention.addEventListener("regained", () => this.ask());
    this.ask();
  }

  async ask() {
    clearTimeout(this.#timer);
    const status = await this.#server.json("status.json", { signal: AbortSignal.timeout(LATE_MS) }).catch(() => null);
    const obstacle = obstacleOf(status);
    at("status").dataset.ready = obstacle === "";
    at("status-model").textContent = status?.model ?? "";
    at("status-text").textContent = lineOf(status);
    at("status-waiting").textContent = status?.ready ? `${status.waiting} waiting` : "";
    this.dispatchEvent(new CustomEvent("status", { detail: { ready: obstacle === "", obstacle } }));
    clearTimeout(this.#timer);
    if (!this.#attention.isLost) this.#timer = setTimeout(() => this.ask(), obstacle === "" ? READY_MS : NOT_READY_MS);
  }
}

function lineOf(status) {
  if (status === null) return "not reachable";
  return status.ready ? `${status.running} running` : stateOf(status);
}

function stateOf({ phase, percent }) {
  return `${phase}, ${percent}%`;
}

function obstacleOf(status) {
  if (status === null) return "The server cannot be reached.";
  return status.ready ? "" : `The server is not ready: ${stateOf(status)}.`;
}
