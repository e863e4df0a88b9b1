// How fast a text comes, over the last seconds. What comes at once when a connection has been made was written before.

const WINDOW_S = 12;
const CATCH_UP_S = 1.5;
const APART_S = 0.25;

export class Pace {
  #samples = [];
  #begin = null;

  // A connection begins: nothing is known.
  restart() {
    this.#samples = [];
    this.#begin = null;
  }

  note(nowS, words, tokens) {
    this.#begin ??= nowS;
    if (nowS - this.#begin < CATCH_UP_S) return;
    const last = this.#samples.at(-1);
    if (last !== undefined && nowS - last.nowS < APART_S) return;
    this.#samples.push({ nowS, words, tokens });
    while (nowS - this.#samples[0].nowS > WINDOW_S) this.#samples.shift();
  }

  get wordsPerSecond() {
    return this.#rate("words");
  }

  get tokensPerSecond() {
    return this.#rate("tokens");
  }

  // Until `numWords` more are written; null: nobody knows.
  secondsFor(numWords) {
    const rate = this.wordsPerSecond;
    return rate > 0 ? Math.max(numWords, 0) / rate : null;
  }

  // Null until two samples are a second apart.
  #rate(what) {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last.nowS - first.nowS < 1) return null;
    return (last[what] - first[what]) / (last.nowS - first.nowS);
  }
}

// "about 3 min": no more exact than it can be.
export function roughly(seconds) {
  if (seconds < 10) return "seconds";
  if (seconds < 90) return `about ${Math.ceil(seconds / 10) * 10} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}
