import assert from "node:assert/strict";
import { test } from "node:test";

import { EventParser } from "../../../../../coordinator/http/page/event_parser.mjs";

const STREAM = 'id: 1\ndata: {"text":"a: b"}\n\n: ping\n\nid: 2\ndata: x\ndata: y\n\nid:3\ndata:[DONE]\n\n';
const EVENTS = [{ id: 1, data: '{"text":"a: b"}' }, { id: 2, data: "x\ny" }, { id: 3, data: "[DONE]" }];

test("events are the same wherever the pieces end", () => {
  for (let size = 1; size <= STREAM.length; ++size) {
    const parser = new EventParser();
    const events = [];
    for (let i = 0; i < STREAM.length; i += size) events.push(...parser.push(STREAM.slice(i, i + size)));
    assert.deepEqual(events, EVENTS);
  }
});

test("an event that was cut off is none", () => {
  assert.deepEqual(new EventParser().push(STREAM.slice(0, -1)), EVENTS.slice(0, 2));
});
