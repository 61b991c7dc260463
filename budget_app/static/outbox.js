// The entries that the server has not confirmed: kept in this browser under ids of their own, and sent until there is
// an answer. The server takes an id once, however often it arrives.

async function use(mode, work) {
  // A connection for each use: iOS cuts those of pages in the background.
  const opening = indexedDB.open("outbox", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("entries", { keyPath: "id" });
  const database = await new Promise((resolve, reject) => {
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  const transaction = database.transaction("entries", mode, { durability: "strict" });
  const request = work(transaction.objectStore("entries"));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  }).finally(() => database.close());
}

/** Writes unless the entry was sent, removed or changed meanwhile, in another tab. */
function replace({ id, at }, write) {
  return use("readwrite", (store) => {
    const request = store.get(id);
    request.onsuccess = () => request.result?.at === at && write(store);
    return request;
  });
}

/** Entries are {id, at, fields, problem}, the oldest first. A browser that keeps nothing has none. */
export async function list() {
  const entries = await use("readonly", (store) => store.getAll()).catch(() => []);
  return entries.sort((one, other) => one.at - other.at);
}

/** Resolves once it is on the disk. */
export const keep = (entry) => use("readwrite", (store) => store.put(entry));

export const drop = (entry) => replace(entry, (store) => store.delete(entry.id));

/** One with a problem stays until a person has changed or removed it. */
export const amend = (entry, problem) => replace(entry, (store) => store.put({ ...entry, problem }));

/** A fetch that gives up, also in the middle of an answer: [response, what is in it as `kind`, else ""]. */
export async function ask(url, seconds, kind, options) {
  const signal = AbortSignal.timeout(seconds * 1000);
  const asked = fetch(url, { cache: "no-store", redirect: "manual", signal, ...options });
  const response = await asked.catch(() => Response.error());
  return [response, (await response[kind]().catch(() => "")) ?? ""];
}

/** An address of this very site, and nothing where it is another's. */
function findOwn(address) {
  if (typeof address !== "string" || !address) return "";
  try {
    const { origin, href } = new URL(address, location.href);
    return origin === location.origin ? href : "";
  } catch {
    return "";
  }
}

/**
 * What becomes of an entry: {kind: "taken"}, "judged" (never like this; `errors` by field, `detail`), "refused" (the
 * door does not let this device in; `login` is where a person can log in, if that would help) or "waits" (nobody knows
 * whether it arrived).
 */
export async function send({ id, fields }) {
  const body = new URLSearchParams({ id, ...fields });
  const options = { method: "POST", body, headers: { Accept: "application/json" } };
  const [{ ok, status, type }, answer] = await ask("/", 15, "json", options);
  // A redirect leads to a login that is not ours.
  if (type === "opaqueredirect" || status === 401 || status === 403) {
    return { ...answer, login: findOwn(answer.login), kind: "refused" };
  }
  if (ok && answer.entry?.id === id) return { kind: "taken" };
  // What the door or a proxy says is about this moment, and not about the entry.
  const ours = answer.title && !answer.type?.startsWith("urn:keyfob:");
  const final = ours && [400, 409, 413, 415, 422].includes(status);
  return final ? { errors: {}, ...answer, kind: "judged" } : { kind: "waits" };
}
