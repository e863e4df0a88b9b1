// A text as its events make it: an answer is one section without a plan. Plain data and pure functions.

import { WordTally } from "./words.mjs";

export function newText() {
  return {
    isDocument: false,
    text: "", // exactly as the server has it
    sections: [], // {step, point, target, words, text, state: "ahead", "writing" or "written"}
    isOutlined: false,
    usage: null,
    detail: null, // finish_detail
    length: null, // {target_words, words, score}
    error: null,
    isOver: false,
  };
}

const TALLY = Symbol("words of a section that grows");

export function apply(state, data) {
  if (data === "[DONE]") {
    state.isOver = true;
    return;
  }
  const event = JSON.parse(data);
  if (event.error) {
    state.error = event.error;
    state.isOver = true;
    return;
  }
  if (event.usage) state.usage = event.usage;
  if (event.object === "document.chunk") applyStep(state, event);
  else applyChunk(state, event);
}

export function wordsOf(state) {
  return state.length?.words ?? state.sections.reduce((sum, section) => sum + section.words, 0);
}

function applyChunk(state, event) {
  const choice = event.choices[0];
  if (choice === undefined) return;
  if (state.sections.length === 0) state.sections.push(newSection({ state: "writing" }));
  append(state, state.sections[0], choice.delta?.content ?? choice.text ?? "");
  if (choice.longhand) end(state, choice.longhand);
}

function applyStep(state, event) {
  state.isDocument = true;
  if (event.plan) {
    state.isOutlined = true;
    state.sections = event.plan.sections.map(({ step, target_words }) =>
      newSection({ step, point: pointOf(step), target: target_words, state: "ahead" }));
  }
  if (event.section_begin) {
    const section = state.sections[event.section_begin.section - 1];
    section.state = "writing";
    section.target = event.section_begin.target_words;
  }
  if (event.text) append(state, state.sections.find((section) => section.state === "writing"), event.text);
  if (event.section_end) {
    const section = state.sections[event.section_end.section - 1];
    section.state = "written";
    section.words = event.section_end.words;
  }
  if (event.longhand) end(state, event.longhand);
}

// Between two sections stands a blank line that is in neither.
function append(state, section, text) {
  state.text += text;
  if (section === undefined) return;
  section.text += text;
  section[TALLY].add(text);
  section.words = section[TALLY].count;
}

function end(state, { finish_detail, length }) {
  state.detail = finish_detail;
  state.length = length ?? null;
  for (const section of state.sections) if (section.state === "writing") section.state = "written";
}

function newSection(fields) {
  return { step: "", point: "", target: null, words: 0, text: "", [TALLY]: new WordTally(), ...fields };
}

// "Section 2 - Main Point: the town - Word Count: 300": the point.
function pointOf(step) {
  return /Main Point:\s*(.*?)\s*(?:-\s*Word Count:.*)?$/su.exec(step)?.[1] ?? step;
}
