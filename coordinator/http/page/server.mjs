// The server that this page came from: requests with the key, and its errors.

const KEY = "longhand.key";

export class ServerError extends Error {
  constructor(status, { message, type = "", param = null }, retryAfterS = null) {
    super(message);
    Object.assign(this, { status, type, param, retryAfterS });
  }

  // Whether the same may go well later.
  get isPassing() {
    return [408, 429, 502, 503, 504].includes(this.status);
  }
}

export class Server extends EventTarget {
  #waiting = []; // for a key

  // The key lives as long as the tab. One that no header can hold, for what was copied with it, is asked for again.
  setKey(key) {
    if (/[^\x20-\x7e]/u.test(key)) {
      this.dispatchEvent(new CustomEvent("key", { detail: "A key has characters of ASCII only; this one has others, perhaps unseen." }));
      return;
    }
    sessionStorage.setItem(KEY, key);
    for (const go of this.#waiting.splice(0)) go();
  }

  // A response with status 2xx. A ServerError otherwise; a TypeError when there is no answer. Where a key is needed the event "key" asks
  // for one, with what the server has against the one it got, and the request waits.
  async fetch(path, options = {}) {
    while (true) {
      const key = sessionStorage.getItem(KEY);
      const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
      const response = await fetch(path, { cache: "no-store", ...options, headers });
      if (response.ok) return response;
      const error = await errorOf(response);
      if (error.status !== 401) throw error;
      if (key === sessionStorage.getItem(KEY)) await this.#newKey(key ? error.message : "", options.signal);
    }
  }

  async json(path, options) {
    return (await this.fetch(path, options)).json();
  }

  async #newKey(message, signal) {
    this.dispatchEvent(new CustomEvent("key", { detail: message }));
    await new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      signal?.addEventListener("abort", () => reject(signal.reason));
    });
  }
}

// Proxies between us and the server answer in their own ways.
async function errorOf(response) {
  const retryAfterS = Number.parseFloat(response.headers.get("Retry-After")) || null;
  const body = await response.json().catch(() => null);
  const error = body?.error ?? { message: `The server answered with ${response.status} ${response.statusText}`.trim() + "." };
  return new ServerError(response.status, error, retryAfterS);
}
