import assert from "node:assert/strict";
import { test } from "node:test";

import { Pace, roughly } from "../../../../../coordinator/http/page/pace.mjs";

test("what comes at once after a connection does not count", () => {
  const pace = new Pace();
  pace.note(100, 5000, 7000);
  assert.equal(pace.wordsPerSecond, null);
  for (let s = 0; s <= 4; ++s) pace.note(102 + s, 5000 + 10 * s, 7000 + 14 * s);
  assert.equal(pace.wordsPerSecond, 10);
  assert.equal(pace.tokensPerSecond, 14);
  assert.equal(pace.secondsFor(200), 20);
  pace.restart();
  assert.equal(pace.secondsFor(200), null);
});

test("only the last seconds count", () => {
  const pace = new Pace();
  for (let s = 0; s <= 60; ++s) pace.note(s, s < 30 ? 100 * s : 3000 + s, 0);
  assert.equal(pace.wordsPerSecond, 1);
});

test("times are no more exact than they can be", () => {
  assert.deepEqual([3, 42, 300, 7200].map(roughly), ["seconds", "about 50 s", "about 5 min", "about 2.0 h"]);
});
