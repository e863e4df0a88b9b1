// The pictures that go with an instruction: chosen, dropped or pasted, as data URLs.

export class Pictures extends EventTarget {
  #list;
  #urls = [];

  constructor(list, input, dropZone) {
    super();
    this.#list = list;
    input.addEventListener("change", () => {
      this.#add(input.files);
      input.value = "";
    });
    dropZone.addEventListener("paste", (event) => this.#take(event, event.clipboardData));
    dropZone.addEventListener("drop", (event) => this.#take(event, event.dataTransfer));
    // Whatever is dropped beside the form would be opened instead of this page.
    document.addEventListener("drop", (event) => event.preventDefault());
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      dropZone.classList.toggle("dropping", event.dataTransfer.types.includes("Files"));
    });
    for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => dropZone.classList.remove("dropping"));
  }

  get urls() {
    return this.#urls;
  }

  set urls(urls) {
    this.#urls = [...urls];
    this.#show();
  }

  #take(event, transfer) {
    if (transfer === null || transfer.files.length === 0) return; // text, which goes its way
    event.preventDefault();
    this.#add(transfer.files);
  }

  async #add(files) {
    const urls = await Promise.all(Array.from(files, dataUrlOf));
    this.#urls.push(...urls);
    this.#show();
  }

  #show() {
    this.#list.replaceChildren(...this.#urls.map((url, i) => thumbnail(url, i + 1, () => this.#remove(i))));
    this.dispatchEvent(new Event("change"));
  }

  #remove(i) {
    this.#urls.splice(i, 1);
    this.#show();
    (this.#list.querySelectorAll("button")[Math.min(i, this.#urls.length - 1)] ?? document.activeElement).focus();
  }
}

// `remove` may be left out.
export function thumbnail(url, number, remove) {
  const item = document.createElement("li");
  const picture = document.createElement("img");
  picture.src = url;
  picture.alt = `Picture ${number}`;
  item.append(picture);
  if (remove) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "×";
    button.ariaLabel = `Remove picture ${number}`;
    button.addEventListener("click", remove);
    item.append(button);
  }
  return item;
}

function dataUrlOf(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
