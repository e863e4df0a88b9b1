import assert from "node:assert/strict";
import { test } from "node:test";

import { parseBlocks, parseInline, plainText, unsettledFrom } from "../../../../../coordinator/http/page/markdown.mjs";

const TEXT = `# The *mill*

First line
second line
- one
- two
  - below
- three

1. a
2. b

| left | right |
|:-----|------:|
| 1 | 2 |

> said

---
\`\`\`
# no heading
\`\`\`
1990. It rained.
***both*** end`;

const types = (text) => parseBlocks(text).map((block) => block.type);

test("blocks", () => {
  assert.deepEqual(types(TEXT), ["heading", "paragraph", "list", "list", "table", "quote", "rule", "code", "list"]);
  const [heading, paragraph, bullets, numbers, table, , , code] = parseBlocks(TEXT);
  assert.deepEqual([heading.level, heading.text], [1, "The *mill*"]);
  assert.equal(paragraph.text, "First line\nsecond line");
  assert.deepEqual(bullets.items.map((item) => [item.text, item.list?.items.length]), [["one", undefined], ["two", 1], ["three", undefined]]);
  assert.deepEqual([numbers.isOrdered, numbers.start, numbers.items.length], [true, 1, 2]);
  assert.deepEqual([table.head, table.rows], [["left", "right"], [["1", "2"]]]);
  assert.equal(code.text, "# no heading");
});

test("a year at the beginning of a line in a paragraph begins no list", () => {
  assert.deepEqual(types("It was\n1990. It rained."), ["paragraph"]);
});

test("marks in lines", () => {
  const shape = (nodes) => nodes.map((node) => (node.children ? [node.type, ...shape(node.children)] : node.text ?? node.type));
  const inline = (text) => shape(parseInline(text));
  assert.deepEqual(inline("a **b *c*** d"), ["a ", ["strong", "b ", ["em", "c"]], " d"]);
  assert.deepEqual(inline("***x***"), [["strong", ["em", "x"]]]);
  assert.deepEqual(inline("2 * 3 * 4 snake_case_name"), ["2 * 3 * 4 snake_case_name"]);
  assert.deepEqual(inline("`a*b*` \\*no\\*"), ["a*b*", " *no*"]);
  assert.deepEqual(inline("**open"), ["**", "open"]);
  assert.deepEqual(inline("a\nb"), ["a", "break", "b"]);
});

test("links, pictures and HTML are the text that they are", () => {
  const hostile = '<img src=x onerror="a()"> [a](javascript:b) ![c](https://d.example/e) <script>f()</script>';
  assert.deepEqual(parseInline(hostile), [{ type: "text", text: hostile }]);
});

test("a text that grows by a character has the blocks of the whole", () => {
  let [settled, blocks, from] = [[], [], 0];
  for (let i = 1; i <= TEXT.length; ++i) {
    const rest = TEXT.slice(from, i);
    blocks = parseBlocks(rest);
    const cut = unsettledFrom(rest, blocks);
    settled = settled.concat(blocks.filter((block) => block.begin < cut));
    blocks = blocks.filter((block) => block.begin >= cut);
    from += cut;
  }
  const bare = (list) => list.map(({ begin, ...block }) => block);
  assert.deepEqual(bare([...settled, ...blocks]), bare(parseBlocks(TEXT)));
});

test("the text without its marks", () => {
  assert.equal(plainText("## A **b**\n\n- c\n  - d\n\n`e`"), "A b\n\n- c\n  - d\n\ne");
});

test("a hostile text takes no time of its square", () => {
  const many = 200_000;
  for (const text of ["*a ", "`a ``b ", "_*", "| ", " \t", "- ", "\\", "> ", "#"].map((each) => each.repeat(many)))
    assert.ok(parseBlocks(text).every((block) => parseInline(block.text ?? "").length > 0 || block.type !== "paragraph"));
});
