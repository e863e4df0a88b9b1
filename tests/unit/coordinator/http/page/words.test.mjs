import assert from "node:assert/strict";
import { test } from "node:test";

import { WordTally, countWords } from "../../../../../coordinator/http/page/words.mjs";

// Those of tests/unit/common/text/word_counter_test.cc.
const GOLDEN = [
  ["don't stop", 3], ["co-operate", 2], ["U.S.", 2], ["使用GPU训练", 4], ["GPU 训练", 3], ["GPT4 wins", 1], ["café", 0], ["naïve", 0],
  ["a_b", 0], ["x1 1x x", 1], ["it’s 3.5", 2], ["㐀㐁一", 1], ["日本語のテスト", 3], ["", 0], ["一鿿", 2], ["ꀀ䷿", 0],
  ["e\u0301 cafe\u0301", 2], ["a²b x½ y٣ zⅣ", 0], ["a‿b", 2], ["one,two;three—four", 4], ["a𠀀 b", 1],
];

test("words are counted as the server counts them", () => {
  for (const [text, words] of GOLDEN) assert.equal(countWords(text), words, text);
});

test("a text that grows by a character has the words of the whole", () => {
  const text = GOLDEN.map(([each]) => each).join("\n");
  const tally = new WordTally();
  for (let i = 0; i < text.length; ++i) {
    tally.add(text[i]);
    assert.equal(tally.count, countWords(text.slice(0, i + 1)), text.slice(0, i + 1));
  }
});
