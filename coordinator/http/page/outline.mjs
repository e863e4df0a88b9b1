// A document's outline: what each section is about, and how far it is.

const MARKS = { ahead: "", writing: "writing", written: "written" };

const at = (id) => document.getElementById(id);

// `sections` as in text_state.mjs; `goTo` shows the one with that index.
export function showOutline(sections, goTo) {
  const list = at("outline-list");
  at("outline").hidden = false;
  at("outline-count").textContent = `${sections.length} ${sections.length === 1 ? "section" : "sections"}`;
  while (list.children.length > sections.length) list.lastChild.remove();
  for (let i = list.children.length; i < sections.length; ++i) list.append(item(() => goTo(i)));
  sections.forEach((section, i) => fill(list.children[i], section));
}

export function hideOutline() {
  at("outline").hidden = true;
  at("outline-list").replaceChildren();
}

function item(onClick) {
  const made = document.createElement("li");
  const link = document.createElement("button");
  link.type = "button";
  link.className = "link";
  link.dir = "auto";
  link.addEventListener("click", onClick);
  const words = document.createElement("span");
  words.className = "hint";
  made.append(link, words);
  return made;
}

function fill(made, { point, target, words, state }) {
  const [link, length] = made.children;
  made.dataset.state = state;
  if (link.textContent !== point) link.textContent = point;
  link.disabled = state === "ahead";
  const text = state === "ahead" ? `${target} words` : `${words} of ${target} words${MARKS[state] && `, ${MARKS[state]}`}`;
  if (length.textContent !== text) length.textContent = text;
}
