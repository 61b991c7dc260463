// What opens without reception: the form without any entries, and its files. The page sends the entries, because a
// worker in the background is not sure to have the device's certificate.

// The server fills these in. The version changes with every file, and so with it does this script.
const VERSION = "__VERSION__";
const FILES = __FILES__;
const SHELL = "/shell";
const A_DAY = 86_400_000;
// Logins and all else that keyfob itself answers: a callback is good once, and never without reception.
const DOOR = "/.keyfob/";

// Pages that came from the cache, and so do their files.
const shells = new Set();

addEventListener("install", (event) => {
  // Open pages have loaded all their files; there is nothing to wait for.
  skipWaiting();
  event.waitUntil(Promise.all([SHELL, ...FILES].map(store)));
});

addEventListener("activate", (event) => {
  const clear = (names) => Promise.all(names.map((name) => name === VERSION || caches.delete(name)));
  event.waitUntil(caches.keys().then(clear));
});

addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== location.origin) return;
  if (pathname.startsWith(DOOR)) {
    // Whoever logs out leaves nothing of theirs to the next person; a page that is opened after all brings it back.
    if (pathname === `${DOOR}logout`) event.waitUntil(forget(SHELL));
    return;
  }
  if (mode === "navigate") event.respondWith(openPage(event, pathname === "/" ? 4 : 15));
  else if (FILES.includes(pathname)) event.respondWith(openFile(event, pathname));
});

/** Never a refusal, a login or an error: these reject. */
async function store(path) {
  const response = await fetch(path, { cache: "no-cache", redirect: "error" });
  if (response.status !== 200) throw new Error(`${path}: ${response.status}`);
  await (await caches.open(VERSION)).put(path, response);
}

const forget = async (path) => (await caches.open(VERSION)).delete(path);

const find = async (path) => (await caches.open(VERSION)).match(path);

async function ask({ request }, seconds) {
  const late = new Promise((_, reject) => setTimeout(reject, seconds * 1000));
  const response = await Promise.race([fetch(request), late]);
  // This is how a proxy says that nobody is behind it.
  if ([502, 504].includes(response.status)) throw response;
  return response;
}

/** From the server, refusals included; else the shell, which reads the address itself. */
async function openPage(event, seconds) {
  const kept = await find(SHELL);
  try {
    const response = await ask(event, seconds);
    // A phone whose key was withdrawn keeps nothing but what it has not sent yet, nor does whoever is to log in. The
    // browser follows the redirect to the login, and there is a shell again once somebody has come back.
    const refused = response.type === "opaqueredirect" || [401, 403].includes(response.status);
    if (refused) event.waitUntil(forget(SHELL));
    // Once a day, for the categories and notes in use.
    const old = !(Date.now() - Date.parse(kept?.headers.get("date")) < A_DAY);
    if (old && response.ok) event.waitUntil(store(SHELL).catch(() => {}));
    return response;
  } catch {
    shells.add(event.resultingClientId);
    return kept ?? fetch(event.request);
  }
}

async function openFile(event, path) {
  const kept = await find(path);
  return shells.has(event.clientId) && kept ? kept : ask(event, 4).catch(() => kept ?? Response.error());
}
