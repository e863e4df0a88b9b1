// Words as the server counts them (common/text/word_counter.h): each character U+4E00..U+9FFF, and each match of Python's \b[a-zA-Z]+\b.

const WORD = /[\u4e00-\u9fff]|(?<![\p{L}\p{N}_])[a-zA-Z]+(?![\p{L}\p{N}_])/gu;
const PART_OF_WORD = /[\p{L}\p{N}_\ud800-\udfff]/u; // halves of characters too

export function countWords(text) {
  return text.match(WORD)?.length ?? 0;
}

// Of a text that grows: what stands before the last character that is in no word is counted once.
export class WordTally {
  #settled = 0;
  #rest = "";

  add(text) {
    const before = this.#rest.length;
    this.#rest += text;
    let at = this.#rest.length - 1;
    while (at >= before && PART_OF_WORD.test(this.#rest[at])) --at;
    if (at < before) return;
    this.#settled += countWords(this.#rest.slice(0, at));
    this.#rest = this.#rest.slice(at);
  }

  get count() {
    return this.#settled + countWords(this.#rest);
  }
}
