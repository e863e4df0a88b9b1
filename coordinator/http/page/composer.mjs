// The form: an instruction, pictures, settings; and what the server has against them, beside the field that it is about.

import { Pictures } from "./pictures.mjs";

const NUMBERS = ["target_words", "temperature", "top_p", "seed", "max_tokens"];
const DRAFT = "draft"; // in the vault, where ids of requests are longer

const at = (id) => document.getElementById(id);

export class Composer extends EventTarget {
  #form = at("composer");
  #instruction = at("instruction");
  #pictures = new Pictures(at("pictures"), at("choose-pictures"), this.#form);
  #vault;
  #draftTimer = null;
  #isSending = false;

  // Fires "write".
  constructor(vault) {
    super();
    this.#vault = vault;
    for (const field of this.#form.querySelectorAll("[data-param]")) addFault(field);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!at("write").disabled) this.dispatchEvent(new Event("write"));
    });
    this.#instruction.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
    this.#form.addEventListener("input", () => this.#changed());
    this.#pictures.addEventListener("change", () => this.#changed());
    at("say-length").addEventListener("click", () => this.#sayLength());
  }

  // What was being written when the page was last closed.
  async restoreDraft() {
    const draft = await this.#vault.get(DRAFT);
    if (draft !== null && this.#instruction.value === "") this.values = draft;
  }

  // As people set it: {kind, instruction, pictures, model, repetition_guard, and numbers that are set}.
  get values() {
    const values = {
      kind: this.#form.elements.kind.value,
      instruction: this.#instruction.value,
      pictures: [...this.#pictures.urls],
      model: at("model").value,
      repetition_guard: at("repetition_guard").checked,
    };
    for (const name of NUMBERS) if (at(name).value !== "") values[name] = at(name).valueAsNumber;
    return values;
  }

  set values(values) {
    this.#form.elements.kind.value = values.kind;
    this.#instruction.value = values.instruction;
    this.#pictures.urls = values.pictures ?? [];
    at("repetition_guard").checked = values.repetition_guard ?? true;
    for (const name of NUMBERS) at(name).value = values[name] ?? "";
    if (values.model && Array.from(at("model").options, (each) => each.value).includes(values.model)) at("model").value = values.model;
    this.#changed();
  }

  set models(names) {
    const chosen = at("model").value;
    at("model").replaceChildren(...names.map((name) => new Option(name)));
    if (names.includes(chosen)) at("model").value = chosen;
    at("model-field").hidden = names.length < 2;
  }

  // An empty `why` means that texts can be written now.
  set obstacle(why) {
    at("not-ready").textContent = why;
    this.#allowWriting();
  }

  // One text at a time is sent: whoever clicks twice wants one.
  set isSending(isSending) {
    this.#isSending = isSending;
    this.#allowWriting();
  }

  focus() {
    this.#instruction.focus();
  }

  clear() {
    this.values = { ...this.values, instruction: "", pictures: [], target_words: undefined, seed: undefined };
    this.#showFaults("", "");
  }

  // `param` is the server's name of what is wrong; null where it says none.
  showFault(message, param) {
    const isAboutPictures = param === "messages" && this.#pictures.urls.length > 0 && /\bimages?\b|image_url/u.test(message);
    this.#showFaults(message, isAboutPictures ? "images" : param);
  }

  #showFaults(message, param) {
    const fields = [...this.#form.querySelectorAll("[data-param]")];
    const about = fields.find((field) => param && field.dataset.param.split(" ").includes(param));
    for (const field of fields) setFault(field, field === about ? message : "");
    if (about?.closest("details")) about.closest("details").open = true;
    at("composer-fault").textContent = about ? "" : message;
    at("composer-fault").hidden = message === "" || about !== undefined;
    if (message !== "") (about?.querySelector("input, textarea, select") ?? this.#instruction).focus();
  }

  #allowWriting() {
    at("write").disabled = this.#isSending || at("not-ready").textContent !== "";
  }

  #changed() {
    const { kind, instruction, target_words } = this.values;
    const isSaid = instruction.replaceAll(",", "").includes(String(target_words));
    at("length-hint").hidden = kind !== "answer" || target_words === undefined || instruction === "" || isSaid;
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.#vault.put(DRAFT, this.values), 300);
  }

  #sayLength() {
    const { instruction, target_words } = this.values;
    const isChinese = /[\u4e00-\u9fff]/u.test(instruction);
    this.#instruction.value = `${instruction.trimEnd()} ${isChinese ? `写${target_words}字。` : `Write about ${target_words} words.`}`.trimStart();
    this.#changed();
    this.focus();
  }
}

function addFault(field) {
  const fault = document.createElement("p");
  fault.className = "fault";
  fault.id = `${field.dataset.param.split(" ")[0]}-fault`;
  fault.setAttribute("role", "alert");
  field.append(fault);
}

function setFault(field, message) {
  const fault = field.querySelector(".fault");
  fault.textContent = message;
  const control = field.querySelector("input, textarea, select");
  control.ariaInvalid = message === "" ? null : "true";
  if (message === "") control.removeAttribute("aria-describedby");
  else control.setAttribute("aria-describedby", fault.id);
}
