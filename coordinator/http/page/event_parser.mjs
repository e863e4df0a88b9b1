// Server-sent events out of a stream's text, whose pieces end anywhere.

export class EventParser {
  #rest = "";

  // The events that `text` completes: {id, data}. Comments (pings) are none.
  push(text) {
    const blocks = (this.#rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.#rest = blocks.pop();
    return blocks.map(parseEvent).filter((event) => event !== null);
  }
}

function parseEvent(block) {
  let id = null;
  const data = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/su.exec(line);
    if (field === "id") id = Number(value);
    if (field === "data") data.push(value);
  }
  return data.length > 0 ? { id, data: data.join("\n") } : null;
}
