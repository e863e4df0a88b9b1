import assert from "node:assert/strict";
import { test } from "node:test";

import { apply, newText, wordsOf } from "../../../../../coordinator/http/page/text_state.mjs";

function textOf(...events) {
  const state = newText();
  for (const event of events) apply(state, typeof event === "string" ? event : JSON.stringify(event));
  return state;
}

test("an answer comes together", () => {
  const chunk = (content, more) => ({ object: "chat.completion.chunk", choices: [{ index: 0, delta: { content }, ...more }] });
  const end = { finish_detail: "target_reached", length: { target_words: 2, words: 2, score: 100 } };
  const usage = { object: "chat.completion.chunk", choices: [], usage: { completion_tokens: 4 } };
  const state = textOf(chunk("Two wo"), chunk("rds.", { longhand: end }), usage, "[DONE]");
  assert.deepEqual([state.text, wordsOf(state), state.detail, state.usage.completion_tokens, state.isOver],
    ["Two words.", 2, "target_reached", 4, true]);
});

test("a document comes together, blank lines between sections in neither", () => {
  const step = (fields) => ({ object: "document.chunk", ...fields });
  const sections = [{ step: "Section 1 - Main Point: the mill - Word Count: 2", target_words: 2 }, { step: "odd", target_words: 1 }];
  const state = textOf(step({ plan: { text: "", sections } }), step({ section_begin: { section: 1, target_words: 3 } }),
    step({ text: "The mill" }), step({ text: "s.", section_end: { section: 1, words: 2, finish_detail: "eos" } }), step({ text: "\n\n" }),
    step({ section_begin: { section: 2, target_words: 1 } }), step({ text: "Town." }));
  assert.equal(state.text, "The mills.\n\nTown.");
  assert.deepEqual(state.sections.map(({ point, target, words, text, state }) => [point, target, words, text, state]),
    [["the mill", 3, 2, "The mills.", "written"], ["odd", 1, 1, "Town.", "writing"]]);
});

test("an error ends a text and is kept as it is", () => {
  const state = textOf({ error: { message: "no", type: "server_error", param: null, code: null } });
  assert.deepEqual([state.isOver, state.error.message], [true, "no"]);
});
