// Requests as they were sent, pictures and all, in the browser's database: they are sent again where a page was closed before the server
// had them, and "again" needs them. Where there is no database, in a private window for one, nothing is kept.

const NAME = "longhand";
const STORE = "requests";

export class Vault {
  #opened = open().catch(() => null);

  async get(id) {
    return (await this.#ask("readonly", (store) => store.get(id))) ?? null;
  }

  async put(id, request) {
    await this.#ask("readwrite", (store) => store.put(request, id));
  }

  async remove(id) {
    await this.#ask("readwrite", (store) => store.delete(id));
  }

  // Undefined where it cannot be done.
  async #ask(mode, work) {
    const database = await this.#opened;
    if (database === null) return undefined;
    try {
      return await settled(work(database.transaction(STORE, mode).objectStore(STORE)));
    } catch {
      return undefined; // The disk is full, or the database is gone.
    }
  }
}

async function open() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
