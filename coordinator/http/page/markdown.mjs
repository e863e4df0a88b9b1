// A subset of Markdown, as plain data: headings, paragraphs, lists, tables, quotes, code, rules; bold, italics, code in lines. Links,
// pictures and HTML stay the text that they are. Each pass is linear in the text, whoever wrote it.

const MAX_DEPTH = 16;

const FENCE = /^ {0,3}(```+|~~~+)/u;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(\S.*)$/su;
const RULE = /^ {0,3}(?:-{3,}|\*{3,}|_{3,})[ \t]*$/u;
const ITEM = /^([ \t]*)([-*+]|\d{1,9}[.)])[ \t]+(\S.*)$/su;
const QUOTE = /^ {0,3}> ?(.*)$/su;
const TABLE_RULE = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$/u; // of a trimmed line

// [{type, begin, ...}], `begin` being where the block starts in `text`.
export function parseBlocks(text) {
  const lines = linesOf(text);
  const blocks = [];
  let i = 0;
  while (i < lines.length) {
    if (isBlank(lines[i])) {
      ++i;
      continue;
    }
    const { block, next } = takeBlock(lines, i);
    blocks.push({ ...block, begin: lines[i].begin });
    i = next;
  }
  return blocks;
}

// Where a text that grows must be parsed again from: its last block may change, and the one before it while the last is one line that
// has not ended.
export function unsettledFrom(text, blocks) {
  const last = blocks.at(-1);
  if (last === undefined) return 0;
  const isOneLine = !text.includes("\n", last.begin);
  return isOneLine && blocks.length > 1 ? blocks.at(-2).begin : last.begin;
}

export function parseInline(text) {
  return new InlineParser(text).parse();
}

// The text without its marks.
export function plainText(text) {
  return parseBlocks(text).map(plainBlock).join("\n\n");
}

function linesOf(text) {
  const lines = [];
  let begin = 0;
  for (const line of text.split("\n")) {
    lines.push({ text: line.replace(/\r$/u, ""), begin });
    begin += line.length + 1;
  }
  return lines;
}

function isBlank(line) {
  return line.text.trim() === "";
}

function isTable(lines, i) {
  return lines[i].text.includes("|") && lines[i + 1]?.text.includes("|") && TABLE_RULE.test(lines[i + 1].text.trim());
}

function takeBlock(lines, i) {
  const line = lines[i].text;
  if (FENCE.test(line)) return takeCode(lines, i);
  const heading = HEADING.exec(line);
  if (heading) {
    const title = heading[2].trimEnd().replace(/ #+$/u, "");
    return { block: { type: "heading", level: heading[1].length, text: title }, next: i + 1 };
  }
  if (RULE.test(line)) return { block: { type: "rule" }, next: i + 1 };
  if (ITEM.test(line)) return takeList(lines, i);
  if (QUOTE.test(line)) return takeQuote(lines, i);
  if (isTable(lines, i)) return takeTable(lines, i);
  return takeParagraph(lines, i);
}

function takeCode(lines, i) {
  const fence = FENCE.exec(lines[i].text)[1];
  const code = [];
  for (++i; i < lines.length && !lines[i].text.trim().startsWith(fence); ++i) code.push(lines[i].text);
  return { block: { type: "code", text: code.join("\n") }, next: i + 1 };
}

// Items may have blank lines between them, and lines of their own.
function takeList(lines, i) {
  const items = [];
  const isOrdered = /\d/u.test(ITEM.exec(lines[i].text)[2]);
  const start = isOrdered ? Number.parseInt(ITEM.exec(lines[i].text)[2], 10) : 1;
  while (i < lines.length) {
    const item = ITEM.exec(lines[i].text);
    if (item && !RULE.test(lines[i].text)) {
      const depth = item[1].replaceAll("\t", "    ").length;
      if (depth < 2 && /\d/u.test(item[2]) !== isOrdered) break;
      items.push({ depth, isOrdered: /\d/u.test(item[2]), text: item[3] });
      ++i;
    } else if (isBlank(lines[i])) {
      const next = nextFilled(lines, i);
      if (next === null || !ITEM.test(lines[next].text)) break;
      i = next;
    } else if (/^[ \t]{2,}/u.test(lines[i].text) || !interrupts(lines, i)) {
      if (isBlank(lines[i - 1])) break;
      items.at(-1).text += `\n${lines[i].text.trim()}`;
      ++i;
    } else {
      break;
    }
  }
  return { block: { type: "list", start, ...nest(items, 0) }, next: i };
}

// Items of more depth belong to the one above them.
function nest(flat, level) {
  const items = [];
  for (let i = 0; i < flat.length;) {
    const item = { text: flat[i].text, list: null };
    let end = i + 1;
    if (level < MAX_DEPTH) while (end < flat.length && flat[end].depth >= flat[i].depth + 2) ++end;
    if (end > i + 1) item.list = { type: "list", start: 1, ...nest(flat.slice(i + 1, end), level + 1) };
    items.push(item);
    i = end;
  }
  return { isOrdered: flat[0].isOrdered, items };
}

function nextFilled(lines, i) {
  while (i < lines.length && isBlank(lines[i])) ++i;
  return i < lines.length ? i : null;
}

function takeQuote(lines, i) {
  const quoted = [];
  for (; i < lines.length && QUOTE.test(lines[i].text); ++i) quoted.push(QUOTE.exec(lines[i].text)[1]);
  return { block: { type: "quote", text: quoted.join("\n") }, next: i };
}

function takeTable(lines, i) {
  const head = cellsOf(lines[i].text);
  const rows = [];
  for (i += 2; i < lines.length && !isBlank(lines[i]) && lines[i].text.includes("|"); ++i) {
    const cells = cellsOf(lines[i].text);
    rows.push(head.map((_, column) => cells[column] ?? ""));
  }
  return { block: { type: "table", head, rows }, next: i };
}

function cellsOf(line) {
  return line.trim().replace(/^\||\|$/gu, "").split("|").map((cell) => cell.trim());
}

function takeParagraph(lines, i) {
  const taken = [lines[i].text.trim()];
  for (++i; i < lines.length && !isBlank(lines[i]) && !interrupts(lines, i); ++i) taken.push(lines[i].text.trim());
  return { block: { type: "paragraph", text: taken.join("\n") }, next: i };
}

// Whether the line begins a block though no blank line stands before it. "1990. It rained" does not.
function interrupts(lines, i) {
  const line = lines[i].text;
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || isTable(lines, i)) return true;
  const item = ITEM.exec(line);
  return item !== null && (!/\d/u.test(item[2]) || Number.parseInt(item[2], 10) === 1);
}

const KINDS = { 1: ["em"], 2: ["strong"], 3: ["em", "strong"] }; // the inner first

class InlineParser {
  #text;
  #nodes = [[]]; // of the whole, then of each mark that is open
  #open = []; // {mark, length}
  #plain = "";
  #noClosingTicks = new Set(); // lengths of runs that nothing closes

  constructor(text) {
    this.#text = text;
  }

  parse() {
    const text = this.#text;
    for (let i = 0; i < text.length;) {
      const c = text[i];
      if (c === "\\" && /[\\`*_#|>[\]~.-]/u.test(text[i + 1] ?? "")) {
        this.#plain += text[i + 1];
        i += 2;
      } else if (c === "\n") {
        this.#push({ type: "break" });
        ++i;
      } else if (c === "`" || c === "*" || c === "_") {
        const length = this.#runLength(i);
        i = c === "`" ? this.#code(i, length) : this.#mark(i, length);
      } else {
        this.#plain += c;
        ++i;
      }
    }
    while (this.#open.length > 0) this.#giveUp();
    this.#flush();
    return this.#nodes[0];
  }

  #runLength(i) {
    let end = i;
    while (this.#text[end] === this.#text[i]) ++end;
    return end - i;
  }

  #code(i, length) {
    const ticks = "`".repeat(length);
    let end = this.#noClosingTicks.has(length) ? -1 : this.#text.indexOf(ticks, i + length);
    while (end >= 0 && this.#runLength(end) !== length) end = this.#text.indexOf(ticks, end + this.#runLength(end));
    if (end < 0) {
      this.#noClosingTicks.add(length);
      this.#plain += ticks;
      return i + length;
    }
    this.#push({ type: "code", text: this.#text.slice(i + length, end).trim() });
    return end + length;
  }

  #mark(i, length) {
    const mark = this.#text[i];
    const [before, after] = [this.#text[i - 1] ?? " ", this.#text[i + length] ?? " "];
    const isWordInside = mark === "_" && /[\p{L}\p{N}]/u.test(before) && /[\p{L}\p{N}]/u.test(after);
    let left = length;
    if (!isWordInside && !/\s/u.test(before)) left = this.#close(mark, left);
    const mayOpen = !isWordInside && !/\s/u.test(after) && left <= 3 && this.#open.length < MAX_DEPTH;
    if (left > 0 && mayOpen) {
      this.#flush();
      this.#open.push({ mark, length: left });
      this.#nodes.push([]);
    } else {
      this.#plain += mark.repeat(left);
    }
    return i + length;
  }

  // What is left of a run after it has closed what it can.
  #close(mark, left) {
    while (left > 0) {
      const at = this.#open.findLastIndex((open) => open.mark === mark && open.length <= left);
      if (at < 0) break;
      while (this.#open.length > at + 1) this.#giveUp();
      this.#flush();
      const { length } = this.#open.pop();
      let node = this.#nodes.pop();
      for (const type of KINDS[length]) node = [{ type, children: node }];
      this.#nodes.at(-1).push(...node);
      left -= length;
    }
    return left;
  }

  // The innermost open mark was none.
  #giveUp() {
    this.#flush();
    const { mark, length } = this.#open.pop();
    const children = this.#nodes.pop();
    this.#plain += mark.repeat(length);
    this.#flush();
    const outer = this.#nodes.at(-1);
    for (const child of children) outer.push(child);
  }

  #push(node) {
    this.#flush();
    this.#nodes.at(-1).push(node);
  }

  #flush() {
    if (this.#plain !== "") this.#nodes.at(-1).push({ type: "text", text: this.#plain });
    this.#plain = "";
  }
}

function plainBlock(block) {
  switch (block.type) {
    case "rule":
      return "* * *";
    case "code":
      return block.text;
    case "list":
      return plainList(block, "");
    case "table":
      return [block.head, ...block.rows].map((row) => row.map(plainInline).join("\t")).join("\n");
    default:
      return plainInline(block.text);
  }
}

function plainList(list, indent) {
  return list.items
    .map((item, index) => {
      const bullet = list.isOrdered ? `${list.start + index}.` : "-";
      const below = item.list ? `\n${plainList(item.list, `${indent}  `)}` : "";
      return `${indent}${bullet} ${plainInline(item.text)}${below}`;
    })
    .join("\n");
}

function plainInline(text) {
  const plain = (nodes) =>
    nodes.map((node) => (node.type === "break" ? "\n" : node.children ? plain(node.children) : node.text)).join("");
  return plain(parseInline(text));
}
