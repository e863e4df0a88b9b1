// The text that is open: it grows as its events come, and says how far it is and how it ended.

import { finishInWords } from "./finish.mjs";
import { plainText } from "./markdown.mjs";
import { hideOutline, showOutline } from "./outline.mjs";
import { Pace, roughly } from "./pace.mjs";
import { thumbnail } from "./pictures.mjs";
import { Prose } from "./prose.mjs";
import { ScrollFollower } from "./scroll_follower.mjs";
import { copyText, saveFile } from "./take_away.mjs";
import { apply, newText, wordsOf } from "./text_state.mjs";

const at = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const plural = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;

export class Reader extends EventTarget {
  #entry = null;
  #values = null;
  #state = newText();
  #parts = []; // of each section: {element, prose, shown}
  #pace = new Pace();
  #scroll = new ScrollFollower(at("to-end"));
  #frame = null;

  // Fires "stop"; and "again" (with {seed: "same" or "new"}) and "change" for a text whose request is at hand.
  constructor() {
    super();
    at("stop").addEventListener("click", () => this.dispatchEvent(new Event("stop")));
    at("again").addEventListener("click", () => this.#again("same"));
    at("another").addEventListener("click", () => this.#again("new"));
    at("change").addEventListener("click", () => this.dispatchEvent(new Event("change")));
    at("copy").addEventListener("click", () => this.#copy());
    at("save-md").addEventListener("click", () => saveFile(this.#entry.title, "md", this.#state.text));
    at("save-txt").addEventListener("click", () => saveFile(this.#entry.title, "txt", plainText(this.#state.text)));
  }

  get state() {
    return this.#state;
  }

  // `values` of the form it was asked with; null where they are not known.
  open(entry, values) {
    this.#reset(entry, values);
    at("empty").hidden = true;
    at("text").hidden = false;
    at("asked").textContent = values?.instruction || entry.title || entry.id;
    at("asked-pictures").replaceChildren(...(values?.pictures ?? []).map((url, i) => thumbnail(url, i + 1)));
    at("progress").hidden = false;
    at("figures").textContent = entry.state === "sent" ? "Sending" : "Asking the server";
    document.title = `${entry.title || "A text"} · Longhand`;
    this.#scroll.begin(entry.id, entry.state === "sent" || entry.state === "writing");
  }

  close() {
    this.#reset(null, null);
    at("empty").hidden = false;
    at("text").hidden = true;
    at("progress").hidden = true;
    document.title = "Longhand";
  }

  onEvent(data) {
    const wasOutlined = this.#state.isOutlined;
    const sectionBefore = this.#sectionNumber();
    apply(this.#state, data);
    if (this.#state.isOutlined && !wasOutlined) this.#say(`The outline has ${plural(this.#state.sections.length, "section")}.`);
    const section = this.#sectionNumber();
    if (section > sectionBefore) this.#say(`Section ${section} of ${this.#state.sections.length}: ${this.#state.sections[section - 1].point}`);
    this.#draw();
  }

  onConnected() {
    this.#pace.restart();
    at("waiting").hidden = true;
    this.#draw();
  }

  onWaiting(seconds, reason) {
    this.#pace.restart();
    const plain = reason.replace(/\.$/u, "");
    at("waiting").textContent = `${plain}. Trying again in ${Math.max(1, Math.round(seconds))} s.`;
    at("waiting").hidden = false;
  }

  onStopping() {
    at("stop").disabled = true;
    at("stop").textContent = "Stopping";
  }

  onStopFailed(message) {
    this.#allowStop();
    at("waiting").textContent = message;
    at("waiting").hidden = false;
  }

  // The text is over. `words` say how, in place of what the server said.
  onEnd(words = "") {
    const { detail, error } = this.#state;
    this.#show();
    at("progress").hidden = true;
    at("waiting").hidden = true;
    at("finish").textContent = words || (error ? error.message : finishInWords(detail));
    at("finish").className = words === "" && error ? "fault" : "";
    at("ending").hidden = false;
    at("facts").replaceChildren(...this.#facts().flatMap(([name, value]) => [item("dt", name), item("dd", value)]));
    for (const id of ["copy", "save-md", "save-txt"]) at(id).hidden = this.#state.text === "";
    for (const id of ["again", "another", "change"]) at(id).hidden = this.#values === null;
    this.#say(`${at("finish").textContent} ${plural(wordsOf(this.#state), "word")}.`);
    this.#scroll.settle(at("finish"));
  }

  #reset(entry, values) {
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    this.#entry = entry;
    this.#values = values;
    this.#state = newText();
    this.#parts = [];
    this.#pace.restart();
    at("prose").replaceChildren();
    hideOutline();
    at("waiting").hidden = true;
    at("ending").hidden = true;
    this.#allowStop();
    at("bar").hidden = true;
  }

  #allowStop() {
    at("stop").disabled = false;
    at("stop").textContent = "Stop";
  }

  #draw() {
    this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    const { sections, isDocument } = this.#state;
    if (isDocument && sections.length > 0) showOutline(sections, (i) => this.#parts[i]?.element.scrollIntoView());
    sections.forEach((section, i) => section.state !== "ahead" && this.#showSection(section, i));
    if (at("progress").hidden) return;
    this.#showProgress();
    this.#scroll.follow();
  }

  #showSection(section, i) {
    this.#parts[i] ??= this.#newPart(section, i);
    const part = this.#parts[i];
    if (section.text.length > part.shown) part.prose.add(section.text.slice(part.shown));
    part.shown = section.text.length;
  }

  #newPart({ point }, i) {
    const element = document.createElement("section");
    if (this.#state.isDocument) element.append(item("header", `${i + 1} of ${this.#state.sections.length} · ${point}`));
    const body = document.createElement("div");
    element.append(body);
    at("prose").append(element);
    return { element, prose: new Prose(body), shown: 0 };
  }

  #showProgress() {
    const words = wordsOf(this.#state);
    const target = this.#target();
    this.#pace.note(performance.now() / 1000, words, this.#state.usage?.completion_tokens ?? 0);
    at("figures").textContent = this.#figures(words, target).join(" · ");
    at("bar").hidden = !target || words === 0;
    if (target) at("bar").value = Math.min(words / target, 1);
  }

  #figures(words, target) {
    if (this.#entry.isDocument && !this.#state.isOutlined) return ["Making an outline"];
    if (this.#state.text === "") return ["Waiting for the first words"];
    const section = this.#sectionNumber();
    const { tokensPerSecond, wordsPerSecond } = this.#pace;
    const figures = section > 0 ? [`Section ${section} of ${this.#state.sections.length}`] : [];
    figures.push(target ? `${count(words)} of ${plural(target, "word")}` : plural(words, "word"));
    if (tokensPerSecond > 0) figures.push(`${Math.round(tokensPerSecond)} tokens/s`);
    else if (wordsPerSecond > 0) figures.push(`${Math.round(wordsPerSecond)} words/s`);
    const left = target ? this.#pace.secondsFor(target - words) : null;
    if (left !== null) figures.push(`${roughly(left)} left`);
    return figures;
  }

  #target() {
    return this.#entry.target ?? this.#state.sections.reduce((sum, { target }) => sum + (target ?? 0), 0);
  }

  // Counted from 1; 0 before the first.
  #sectionNumber() {
    return this.#state.isDocument ? this.#state.sections.filter(({ state }) => state !== "ahead").length : 0;
  }

  #facts() {
    const { usage } = this.#state;
    const target = this.#state.length?.target_words;
    const facts = [["Words", count(wordsOf(this.#state)) + (target ? ` of ${count(target)}` : "")]];
    if (usage) facts.push(["Tokens", `${count(usage.completion_tokens)} after a prompt of ${count(usage.prompt_tokens)}`]);
    if (this.#entry.seed !== undefined) facts.push(["Seed", String(this.#entry.seed)]);
    facts.push(["Id", this.#entry.id]);
    return facts;
  }

  async #copy() {
    await copyText(this.#state.text);
    at("copy").textContent = "Copied";
    this.#say("Copied.");
    setTimeout(() => (at("copy").textContent = "Copy"), 2000);
  }

  #again(seed) {
    this.dispatchEvent(new CustomEvent("again", { detail: { seed } }));
  }

  // To those who listen instead of looking.
  #say(words) {
    at("announcer").textContent = words;
  }
}

function item(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
