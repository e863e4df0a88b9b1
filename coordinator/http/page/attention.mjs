// Whether somebody looks at the page. Who looks away for a moment has not left.

const MOMENT_MS = 2000;

export class Attention extends EventTarget {
  #isLost = false;
  #timer = null;

  // Fires "lost" and "regained".
  constructor() {
    super();
    document.addEventListener("visibilitychange", () => this.#look());
    this.#look();
  }

  get isLost() {
    return this.#isLost;
  }

  #look() {
    clearTimeout(this.#timer);
    if (document.hidden) this.#timer = setTimeout(() => this.#become(true), MOMENT_MS);
    else this.#become(false);
  }

  #become(isLost) {
    if (this.#isLost === isLost) return;
    this.#isLost = isLost;
    this.dispatchEvent(new Event(isLost ? "lost" : "regained"));
  }
}
