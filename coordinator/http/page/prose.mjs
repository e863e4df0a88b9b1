// A text as elements that grow with it. Made of nodes, never of markup: what the model writes stays text.

import { parseBlocks, parseInline, unsettledFrom } from "./markdown.mjs";

export class Prose {
  #root;
  #rest = ""; // from the first block that may still change
  #unsettled = []; // its blocks' elements

  constructor(root) {
    this.#root = root;
  }

  add(text) {
    this.#rest += text;
    const blocks = parseBlocks(this.#rest);
    const cut = unsettledFrom(this.#rest, blocks);
    const elements = blocks.map(blockElement);
    for (const element of this.#unsettled) element.remove();
    this.#root.append(...elements);
    this.#unsettled = elements.filter((_, i) => blocks[i].begin >= cut);
    this.#rest = this.#rest.slice(cut);
  }
}

function element(name, children = []) {
  const made = document.createElement(name);
  made.dir = "auto"; // each block reads from its own side
  made.append(...children);
  return made;
}

function blockElement(block) {
  switch (block.type) {
    case "heading":
      return element(`h${Math.min(block.level + 2, 6)}`, inlineNodes(block.text)); // below the page's own
    case "rule":
      return document.createElement("hr");
    case "code": {
      const pre = element("pre");
      pre.textContent = block.text;
      return pre;
    }
    case "quote":
      return element("blockquote", inlineNodes(block.text));
    case "list":
      return listElement(block);
    case "table":
      return tableElement(block);
    default:
      return element("p", inlineNodes(block.text));
  }
}

function listElement(list) {
  const items = list.items.map((item) => {
    const below = item.list ? [listElement(item.list)] : [];
    return element("li", [...inlineNodes(item.text), ...below]);
  });
  const made = element(list.isOrdered ? "ol" : "ul", items);
  if (list.isOrdered && list.start !== 1) made.start = list.start;
  return made;
}

function tableElement({ head, rows }) {
  const row = (name, cells) => element("tr", cells.map((cell) => element(name, inlineNodes(cell))));
  const table = element("table", [element("thead", [row("th", head)]), element("tbody", rows.map((cells) => row("td", cells)))]);
  const frame = element("div", [table]);
  frame.className = "table";
  return frame;
}

function inlineNodes(text) {
  return parseInline(text).map(inlineNode);
}

function inlineNode(node) {
  if (node.type === "text") return node.text;
  const made = document.createElement(node.type === "break" ? "br" : node.type);
  if (node.text !== undefined) made.textContent = node.text;
  if (node.children) made.append(...node.children.map(inlineNode));
  return made;
}
