// OpenAI's Node client, unchanged, against the gateway at LONGHAND_URL (openai_node_test.py starts it).
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const baseURL = process.env.LONGHAND_URL;
const picture = process.env.LONGHAND_PICTURE;
const client = new OpenAI({ baseURL, apiKey: "sk-test", maxRetries: 0 });
const ask = (content, max_tokens, more = {}) =>
  client.chat.completions.create({
    model: "nano", messages: [{ role: "user", content }], max_tokens, temperature: 0, ignore_eos: true, ...more,
  });

test("models", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ["nano"]);
});

test("chat, whole and streamed, with usage", async () => {
  const whole = await ask("Hello", 30);
  assert.equal(whole.usage.completion_tokens, 30);
  assert.equal(whole.choices[0].finish_reason, "length");
  let text = "";
  let usage = null;
  for await (const chunk of await ask("Hello", 30, { stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.total_tokens, whole.usage.total_tokens);
  assert.ok(usage.prompt_tokens_details.cached_tokens > 0); // the same prompt again
});

test("the stream helper puts the message together", async () => {
  const whole = await ask("Again", 20);
  const runner = client.chat.completions.stream({
    model: "nano", messages: [{ role: "user", content: "Again" }], max_tokens: 20, temperature: 0, ignore_eos: true,
  });
  assert.equal((await runner.finalChatCompletion()).choices[0].message.content, whole.choices[0].message.content);
});

test("a stream that is left ends its request", async () => {
  const stream = await ask("Long", 3000, { stream: true });
  for await (const _ of stream) break;
  assert.equal((await ask("Hello", 3)).usage.completion_tokens, 3);
});

test("pictures", async () => {
  const content = [{ type: "image_url", image_url: { url: picture } }, { type: "text", text: "What is this?" }];
  const answer = await ask(content, 8);
  assert.equal(answer.usage.completion_tokens, 8);
  assert.ok(answer.usage.prompt_tokens > (await ask("What is this?", 8)).usage.prompt_tokens);
});

test("logprobs and several answers", async () => {
  const answer = await ask("Hi", 6, { n: 3, temperature: 1, seed: 5, logprobs: true, top_logprobs: 2 });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1, 2]);
  for (const { logprobs } of answer.choices) {
    assert.equal(logprobs.content.length, 6);
    for (const token of logprobs.content) {
      assert.ok(token.logprob <= 0);
      assert.equal(token.top_logprobs.length, 2);
    }
  }
});

test("stop and seed", async () => {
  const free = await ask("Stop", 40, { temperature: 1, seed: 3 });
  const again = await ask("Stop", 40, { temperature: 1, seed: 3 });
  assert.equal(again.choices[0].message.content, free.choices[0].message.content);
  const stop = free.choices[0].message.content.slice(10, 14);
  const cut = await ask("Stop", 40, { temperature: 1, seed: 3, stop });
  assert.equal(cut.choices[0].message.content, free.choices[0].message.content.split(stop)[0]);
  assert.equal(cut.choices[0].finish_reason, "stop");
});

test("errors are the client's own", async () => {
  const other = { model: "other", messages: [{ role: "user", content: "Hi" }] };
  await assert.rejects(client.chat.completions.create(other), OpenAI.NotFoundError);
  await assert.rejects(ask("Hi", 5, { temperature: -1 }), (error) => error instanceof OpenAI.BadRequestError && /temperature/.test(error.message));
  const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  const tools = [{ type: "function", function: { name: "f", parameters: {} } }];
  await assert.rejects(ask("Hi", 5, { tools }), (error) => error instanceof OpenAI.APIError && /tools/.test(error.message));
});

test("timeouts", async () => {
  await assert.rejects(
    client.chat.completions.create(
      { model: "nano", messages: [{ role: "user", content: "Hi" }], max_tokens: 2000, ignore_eos: true }, { timeout: 10 }),
    OpenAI.APIConnectionTimeoutError);
});

test("text completions", async () => {
  const answer = await client.completions.create({ model: "nano", prompt: "Once", max_tokens: 7, temperature: 0, ignore_eos: true });
  assert.equal(answer.usage.completion_tokens, 7);
});
