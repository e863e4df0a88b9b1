// The list of recent texts, to open one again.

const STATES = { sent: "sending", writing: "not read to its end", stopped: "stopped", failed: "failed", forgotten: "forgotten by the server" };

export class RecentList extends EventTarget {
  #recents;
  #list = document.getElementById("recent-list");
  #openId = null;

  // Fires "open" and "remove" with an id.
  constructor(recents) {
    super();
    this.#recents = recents;
    recents.addEventListener("change", () => this.#show());
    this.#show();
  }

  set openId(id) {
    this.#openId = id;
    this.#show();
  }

  #show() {
    const entries = this.#recents.all();
    document.getElementById("recents").hidden = entries.length === 0;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.closest("li").dataset.id : null;
    this.#list.replaceChildren(...entries.map((entry) => this.#item(entry)));
    if (focused) [...this.#list.children].find((item) => item.dataset.id === focused)?.querySelector("button").focus();
  }

  #item(entry) {
    const item = document.createElement("li");
    item.dataset.id = entry.id;
    const open = button("", () => this.#fire("open", entry.id));
    open.className = "open";
    if (entry.id === this.#openId) open.setAttribute("aria-current", "true");
    const title = span("title", entry.title || entry.id);
    title.dir = "auto";
    open.append(title, span("hint", describe(entry, entry.id === this.#openId)));
    const remove = button("×", () => this.#fire("remove", entry.id));
    remove.ariaLabel = `Take “${entry.title || entry.id}” off the list`;
    item.append(open, remove);
    return item;
  }

  #fire(name, id) {
    this.dispatchEvent(new CustomEvent(name, { detail: id }));
  }
}

// Nobody follows a text that is not open: it may be written by now.
function describe({ when, words, target, state }, isOpen) {
  const isToday = new Date(when).toDateString() === new Date().toDateString();
  const time = new Intl.DateTimeFormat(undefined, isToday ? { timeStyle: "short" } : { dateStyle: "medium" }).format(when);
  const count = (number) => number.toLocaleString("en");
  const length = target && state === "writing" ? `${count(words)} of ${count(target)} words` : `${count(words)} words`;
  return [time, words > 0 ? length : "", isOpen && state === "writing" ? "writing" : (STATES[state] ?? "")].filter((part) => part !== "").join(" · ");
}

function button(text, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", onClick);
  return made;
}

function span(className, text) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = text;
  return made;
}
