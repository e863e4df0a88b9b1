// The texts that this browser asked for, newest first, in localStorage: how to find them, not what they say.
//
// {id, isDocument, title, when (ms), words, target, seed, last (event), state}; states: "sent" (the server may not have it), "writing",
// "written", "stopped", "failed", "forgotten".

const KEY = "longhand.texts";
const MAX_ENTRIES = 50;
const MAX_TITLE = 120;

export class Recents extends EventTarget {
  #unsaved = null; // the list, where there is no room for it

  constructor() {
    super();
    addEventListener("storage", (event) => event.key === KEY && this.#changed()); // another tab's
  }

  all() {
    if (this.#unsaved !== null) return this.#unsaved;
    try {
      return JSON.parse(localStorage.getItem(KEY)) ?? [];
    } catch {
      return [];
    }
  }

  find(id) {
    return this.all().find((entry) => entry.id === id) ?? null;
  }

  // The entries that found no room.
  add(entry) {
    const all = [{ ...entry, title: titleOf(entry.title) }, ...this.all().filter(({ id }) => id !== entry.id)];
    this.#write(all.slice(0, MAX_ENTRIES));
    return all.slice(MAX_ENTRIES);
  }

  update(id, fields) {
    this.#write(this.all().map((entry) => (entry.id === id ? { ...entry, ...fields } : entry)));
  }

  remove(id) {
    this.#write(this.all().filter((entry) => entry.id !== id));
  }

  #write(all) {
    try {
      localStorage.setItem(KEY, JSON.stringify(all));
      this.#unsaved = null;
    } catch {
      this.#unsaved = all;
    }
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

export function drawId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12)); // randomUUID is not there without TLS
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

export function drawSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

function titleOf(text) {
  const line = text.trim().replace(/\s+/gu, " ");
  return line.length > MAX_TITLE ? `${line.slice(0, MAX_TITLE - 1)}…` : line;
}
