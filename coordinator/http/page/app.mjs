// The writing page: its parts, and what goes between them. The address names the text that is open (#text=ID).

import { Attention } from "./attention.mjs";
import { Composer } from "./composer.mjs";
import { Follower } from "./follower.mjs";
import { askForKeys } from "./key_panel.mjs";
import { Reader } from "./reader.mjs";
import { RecentList } from "./recent_list.mjs";
import { Recents, drawId, drawSeed } from "./recents.mjs";
import { requestOf } from "./request.mjs";
import { Server, ServerError } from "./server.mjs";
import { StatusLine } from "./status_line.mjs";
import { stopByEscape, stopOnServer } from "./stop.mjs";
import { wordsOf } from "./text_state.mjs";
import { Vault } from "./vault.mjs";

const NOTE_EVERY_MS = 1000;

const at = (id) => document.getElementById(id);

const server = new Server();
const vault = new Vault();
const recents = new Recents();
const composer = new Composer(vault);
const reader = new Reader();
const list = new RecentList(recents);
const attention = new Attention();

let open = null; // {entry, values, follower, isEnded, isWaiting, stopping, last}

askForKeys(server);
stopByEscape(at("stop"));
composer.addEventListener("write", () => begin(composer.values));
reader.addEventListener("stop", stop);
reader.addEventListener("again", ({ detail }) => begin({ ...open.values, seed: detail.seed === "same" ? open.values.seed : undefined }));
reader.addEventListener("change", () => {
  composer.values = open.values;
  goTo(null);
  composer.focus();
});
list.addEventListener("open", ({ detail }) => goTo(detail));
list.addEventListener("remove", ({ detail }) => forget(detail));
at("new-text").addEventListener("click", () => {
  composer.clear();
  goTo(null);
  composer.focus();
});
for (const example of document.querySelectorAll(".examples button")) {
  example.addEventListener("click", () => {
    composer.values = { ...composer.values, kind: example.dataset.kind, instruction: example.textContent,
      target_words: Number(example.dataset.words) || undefined };
    composer.focus();
  });
}
attention.addEventListener("lost", () => open?.follower.rest());
attention.addEventListener("regained", () => open?.follower.goOn());
const status = watchStatus();
composer.restoreDraft();
addEventListener("hashchange", () => show());
show();

async function begin(values) {
  composer.isSending = true;
  const id = drawId();
  const seeded = { ...values, seed: values.seed ?? drawSeed() };
  await vault.put(id, seeded); // first: what is sent can be sent again
  const dropped = recents.add({
    id, isDocument: values.kind === "document", title: values.instruction, when: Date.now(), words: 0, target: values.target_words,
    seed: seeded.seed, last: 0, state: "sent",
  });
  for (const entry of dropped) vault.remove(entry.id);
  goTo(id, seeded);
}

function goTo(id, values = null) {
  history.pushState({}, "", id === null ? location.pathname : `#text=${id}`);
  show(values);
}

// Shows what the address names. `known` are its values where they are at hand, if the browser keeps none.
async function show(known = null) {
  const id = /^#text=([\w.:-]+)$/u.exec(location.hash)?.[1] ?? null;
  open?.follower.leave();
  open = null;
  list.openId = id;
  document.body.dataset.view = id === null ? "write" : "read";
  if (id === null) {
    composer.isSending = false;
    reader.close();
    return;
  }
  const entry = { ...(recents.find(id) ?? { id, title: "", when: Date.now(), words: 0, state: "writing" }) };
  entry.isTaken = entry.state !== "sent";
  const values = known ?? (await vault.get(id));
  if (location.hash !== `#text=${id}`) return; // Another is to be shown by now.
  composer.isSending = !entry.isTaken;
  const text = { entry, values, isEnded: false, isWaiting: false, stopping: false, last: 0 };
  text.follower = new Follower(server, entry, values && requestOf(id, values), reportOf(text));
  if (attention.isLost) text.follower.rest();
  open = text;
  reader.open(entry, values);
  at("reader").focus({ preventScroll: true });
  await follow(text);
}

async function follow(text) {
  const { entry } = text;
  try {
    await text.follower.run();
  } catch (error) {
    if (error.name === "AbortError") return; // left
    text.isEnded = true;
    if (!(error instanceof ServerError)) throw error;
    return refuse(text, error);
  }
  text.isEnded = true;
  status.ask();
  const { detail, error } = reader.state;
  const wasStopped = error !== null && (entry.state === "stopped" || (await text.stopping));
  note(text, { state: wasStopped ? "stopped" : detail === null ? "failed" : "written" });
  reader.onEnd(wasStopped ? "Stopped. What was written is kept." : "");
}

function reportOf(text) {
  let noted = 0;
  return {
    onTaken() {
      text.entry.isTaken = true;
      composer.isSending = false;
      if (recents.find(text.entry.id) === null) recents.add(text.entry);
      note(text, { state: "writing" });
      status.ask();
    },
    onConnected: () => reader.onConnected(),
    onWaiting(seconds, reason) {
      text.isWaiting = true;
      reader.onWaiting(seconds, reason);
    },
    onEvent(id, data) {
      text.isWaiting = false;
      text.last = id;
      reader.onEvent(data);
      if (performance.now() - noted < NOTE_EVERY_MS) return;
      noted = performance.now();
      note(text, {});
    },
  };
}

function note(text, fields) {
  const { isDocument } = reader.state;
  recents.update(text.entry.id, { words: wordsOf(reader.state), last: text.last, ...(isDocument ? { isDocument } : {}), ...fields });
}

// The server did not take it, or has it no more.
function refuse(text, error) {
  composer.isSending = false;
  const { entry, values } = text;
  if (!entry.isTaken && values !== null) {
    forget(entry.id);
    composer.showFault(error.message, error.param);
    return;
  }
  const isForgotten = error.status === 404;
  recents.update(entry.id, { state: isForgotten ? "forgotten" : "failed" });
  reader.onEnd(isForgotten ? "The server has forgotten this text: its journal keeps texts for a time only." : error.message);
}

async function stop() {
  const text = open;
  reader.onStopping();
  if (!text.entry.isTaken && text.isWaiting) return giveUp(text);
  try {
    text.stopping = stopOnServer(server, text.entry, () => !text.isEnded);
    await text.stopping;
    text.follower.retryNow();
  } catch (error) {
    text.stopping = false;
    reader.onStopFailed(error.message);
  }
}

// It was refused or not reached so far, and is not to be tried again.
function giveUp(text) {
  composer.isSending = false;
  text.follower.leave();
  server.fetch(`v1/streams/${text.entry.id}`, { method: "DELETE" }).catch(() => {});
  recents.update(text.entry.id, { state: "stopped" });
  reader.onEnd("Stopped before anything was written.");
}

function forget(id) {
  recents.remove(id);
  vault.remove(id);
  if (open?.entry.id === id) goTo(null);
}

function watchStatus() {
  let wasReady = false;
  const line = new StatusLine(server, attention);
  line.addEventListener("status", ({ detail: { ready, obstacle } }) => {
    composer.obstacle = obstacle;
    if (ready && !wasReady) {
      open?.follower.retryNow();
      listModels();
    }
    wasReady = ready;
  });
  return line;
}

async function listModels() {
  const models = await server.json("v1/models").catch(() => null);
  if (models !== null) composer.models = models.data.map(({ id }) => id);
}
