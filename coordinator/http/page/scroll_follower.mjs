// Keeps the end of a text in view while its reader is there, and leaves it alone while not, also after the page was loaded again.

const NEAR_PX = 80;
const PLACE = "longhand.place";

export class ScrollFollower {
  #button;
  #id = null;
  #isAtEnd = false;
  #place = null; // to return to when the text is long enough

  constructor(button) {
    this.#button = button;
    button.addEventListener("click", () => {
      this.#isAtEnd = true;
      this.follow();
    });
    addEventListener("scroll", () => this.#look(), { passive: true });
    addEventListener("wheel", () => (this.#place = null), { passive: true });
    addEventListener("pagehide", () => this.#keepPlace());
    history.scrollRestoration = "manual";
  }

  begin(id, grows) {
    this.#id = id;
    const kept = JSON.parse(sessionStorage.getItem(PLACE) ?? "null");
    sessionStorage.removeItem(PLACE);
    this.#place = kept?.id === id ? kept.y : null;
    this.#isAtEnd = grows && this.#place === null;
    scrollTo(0, 0);
  }

  // The text has grown.
  follow() {
    if (this.#place !== null) this.#return();
    else if (this.#isAtEnd) scrollTo(0, document.documentElement.scrollHeight);
    this.#button.hidden = isAtEnd();
  }

  // The text grows no more; `end` says so.
  settle(end) {
    if (this.#place !== null) this.#return();
    else if (this.#isAtEnd) end.scrollIntoView({ block: "nearest" });
    this.#place = null;
  }

  #return() {
    scrollTo(0, this.#place);
    if (scrollY >= this.#place - 1) this.#place = null;
  }

  #look() {
    if (this.#place !== null) return;
    this.#isAtEnd = isAtEnd();
    this.#button.hidden = this.#isAtEnd;
  }

  #keepPlace() {
    if (this.#id !== null && !this.#isAtEnd) sessionStorage.setItem(PLACE, JSON.stringify({ id: this.#id, y: scrollY }));
  }
}

function isAtEnd() {
  return scrollY + innerHeight >= document.documentElement.scrollHeight - NEAR_PX;
}
