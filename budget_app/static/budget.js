// Makes the form quicker, and lets it work without reception. Without this script it posts as any form does.

import { amend, ask, drop, keep, list, send } from "./outbox.js";

const find = (id) => document.getElementById(id);
const form = find("entry");
const { id, amount, refund, day, date, note } = form.elements;
const chips = [...form.querySelectorAll("[name=category]")];
const [words, suggestions] = ["words", "suggestions"].map((name) => JSON.parse(find(name).textContent));
// The server judges what was typed; without these it would not be worth keeping.
const needed = {
  amount: say("Enter an amount, such as 4.50."),
  category: say("Choose a category."),
  date: say("Choose the day of the expense."),
};
// The shell has no date: it was made some day, for any.
const shell = !date.defaultValue;

// The first id is the page's own, so that a form sent before this script came, and then again, is one entry.
let nextId = shell ? crypto.randomUUID() : id.defaultValue;
let edited = false;
let busy = false;
let shownOn = shell ? "" : findDay(0);
let counted = "";
let asked = 0;
let shown = 0;
let login = "";
let pause;
let timer;

function say(text, values = {}) {
  return (words[text] ?? text).replace(/{(\w+)}/g, (_, name) => values[name]);
}

/** The date, where this device is, of so many days ago. */
function findDay(ago) {
  const now = new Date();
  return new Date(Date.UTC(now.getFullYear(), now.getMonth(), now.getDate() - ago)).toISOString().slice(0, 10);
}

function readForm() {
  const category = chips.find((chip) => chip.checked)?.value ?? "";
  const when = { today: findDay(0), yesterday: findDay(1) }[day.value] ?? date.value;
  const typed = { amount: amount.value, category, date: when, note: note.value };
  return refund.checked ? { ...typed, refund: refund.value } : typed;
}

function fillForm(typed) {
  amount.value = typed.amount ?? "";
  refund.checked = Boolean(typed.refund);
  choose(typed.category ?? "");
  note.value = typed.note ?? "";
  const when = typed.date ?? typed.day ?? "today";
  const days = { today: "today", yesterday: "yesterday", [findDay(0)]: "today", [findDay(1)]: "yesterday" };
  day.value = days[when] ?? "other";
  date.value = days[when] ? findDay(0) : when;
}

function choose(category) {
  for (const chip of chips) {
    chip.checked = chip.value.toLowerCase() === category.toLowerCase();
    if (chip.checked) chip.closest("details")?.setAttribute("open", "");
  }
}

function showMessages(messages, ...elsewhere) {
  const others = { ...messages };
  for (const place of form.querySelectorAll(".field")) {
    const name = place.dataset.field;
    const message = find(`${name}-message`);
    message.textContent = messages[name];
    message.hidden = !messages[name];
    place.classList.toggle("wrong", !message.hidden);
    find(name).setAttribute("aria-invalid", !message.hidden);
    find(name).setAttribute("aria-describedby", message.id);
    delete others[name];
  }
  show("alert", "bad", ...Object.values(others), ...elsewhere);
  form.querySelector("[aria-invalid=true]")?.focus();
}

function show(place, kind, ...sentences) {
  const banner = document.createElement("p");
  banner.className = `banner ${kind}`;
  banner.textContent = sentences.filter(Boolean).join(" ");
  find(place).replaceChildren(...(banner.textContent ? [banner] : []));
}

form.onsubmit = (event) => {
  // A browser without this is older than much of what is used here.
  if (!AbortSignal.timeout) return;
  event.preventDefault();
  if (busy) return;
  busy = true;
  save(event.submitter?.value).finally(() => (busy = false));
};

/** First on this device, then at the server. */
async function save(then) {
  const fields = readForm();
  // An amount without a digit, of any script, is none.
  const given = { ...fields, amount: fields.amount.replace(/\P{Nd}/gu, "") };
  const missing = Object.entries(needed).filter(([name]) => !given[name].trim());
  if (missing.length) return showMessages(Object.fromEntries(missing));
  const entry = { id: nextId, at: Date.now(), fields };
  try {
    await keep(entry);
  } catch {
    // A browser that keeps nothing sends the form as it does without a script.
    id.value = nextId;
    return form.submit();
  }
  navigator.storage?.persist?.();
  const sent = send(entry);
  // By then a person goes on, and the answer finds an entry that waits.
  const outcome = await Promise.race([sent, new Promise((resolve) => setTimeout(resolve, 3000, { kind: "waits" }))]);
  if (outcome.kind === "judged") {
    await (edited ? settle(entry, outcome) : drop(entry));
    return showMessages(outcome.errors, outcome.detail);
  }
  startAgain(then);
  if (outcome.kind !== "taken") {
    const kept = outcome.login
      ? say("Kept on this device, and sent once you have logged in.")
      : say("Kept on this device, and sent when there is reception.");
    show("notice", "good", kept);
    showWaiting();
  }
  sent.then((late) => finish(entry, late));
}

function startAgain(then) {
  nextId = crypto.randomUUID();
  edited = false;
  history.replaceState(null, "", "/");
  showMessages({});
  fillForm(then ? { date: readForm().date } : {});
  if (then) return amount.focus();
  document.activeElement.blur();
  scrollTo(0, 0);
}

async function finish(entry, outcome) {
  await settle(entry, outcome);
  if (outcome.kind === "taken" && !(await refresh(`/?added=${entry.id}`, "notice"))) show("notice", "good", say("Added."));
  await flush();
}

async function settle(entry, { kind, errors, detail }) {
  if (kind === "taken") await drop(entry);
  if (kind !== "judged") return;
  await amend(entry, [...Object.values(errors), detail].filter(Boolean).join(" "));
  show("notice");
  await showWaiting();
}

/** Sends what waits, one by one and in one tab, until nobody answers. */
async function flush() {
  clearTimeout(timer);
  const result = await navigator.locks.request("outbox", { ifAvailable: true }, (lock) => lock && sendAll());
  // Without reception it stays, if it was there.
  if (result && result.stopped?.kind !== "waits") login = result.stopped?.login ?? "";
  await showWaiting();
  if (!result) return;
  const { count, stopped } = result;
  if (count && (await refresh("/"))) show("notice", "good", say("{count} sent", { count }));
  if (count) show("alert");
  if (stopped?.kind === "refused" && !login) {
    const refusal = say("The server does not take this device's key. What waits stays here.");
    show("alert", "bad", refusal, stopped.title && `${stopped.title}.`, stopped.detail);
  }
  if (!stopped || document.hidden) return;
  timer = setTimeout(flush, pause * (500 + Math.random() * 500));
  pause = Math.min(pause * 2, 300);
}

async function sendAll() {
  let count = 0;
  for (const entry of await list()) {
    if (entry.problem) continue;
    const outcome = await send(entry);
    await settle(entry, outcome);
    if (outcome.kind === "taken") count += 1;
    else if (outcome.kind !== "judged") return { count, stopped: outcome };
  }
  return { count };
}

/** Takes over what the server's page says now, `notice` too where it has one for us; false if there is no page. */
async function refresh(url, ...notice) {
  const turn = ++asked;
  const [{ ok }, text] = await ask(url, 6, "text", { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(text, "text/html");
  if (!ok || !page.getElementById("latest")) return false;
  // An answer that comes after that of a later question is older than what is shown.
  const parts = turn > shown ? [...notice, "status", "latest"] : notice;
  shown = Math.max(turn, shown);
  // The elements stay, because a live region that is new says nothing.
  for (const name of parts) find(name).replaceChildren(...page.getElementById(name).childNodes);
  shownOn = findDay(0);
  return true;
}

async function showWaiting() {
  const entries = await list();
  const line = entries.length ? say("{count} waiting", { count: entries.length }) : "";
  const section = find("waiting");
  section.querySelector("h2").textContent = line;
  section.querySelector("ol").replaceChildren(...entries.map(makeRow));
  section.hidden = !line;
  offerLogin(entries.filter(({ problem }) => !problem).length);
  // The list is below the form; its number is said above, where nothing else is.
  if (["", counted].includes(find("notice").textContent.trim())) show("notice", "good", line);
  counted = line;
}

/** The way to a session, for as long as something waits for one. */
function offerLogin(count) {
  const place = find("login");
  const link = place.querySelector("a");
  place.hidden = !login || !count;
  if (place.hidden) return;
  link.href = login;
  const text = count === 1 ? say("Log in to send 1 entry") : say("Log in to send {count} entries", { count });
  // A live region says what is new in it.
  if (link.textContent !== text) link.textContent = text;
}

function makeRow(entry) {
  const row = find("waiting-row").content.cloneNode(true);
  const lang = document.documentElement.lang;
  const when = new Date(`${entry.fields.date}T12:00`).toLocaleDateString(lang, { dateStyle: "medium" });
  const parts = { ...entry.fields, when, problem: entry.problem };
  for (const place of row.querySelectorAll("[data-part]")) {
    const text = parts[place.dataset.part];
    place.hidden = !text;
    if (place.dataset.part !== "refund") place.textContent = text;
  }
  row.querySelector("[data-act=edit]").onclick = () => edit(entry);
  row.querySelector("[data-act=remove]").onclick = () => remove(entry);
  return row;
}

async function edit(entry) {
  if (busy || ((amount.value || note.value) && !confirm(say("Replace what is in the form?")))) return;
  nextId = entry.id;
  edited = true;
  showMessages({});
  fillForm(entry.fields);
  amount.focus();
  await amend(entry, say("Set aside until you have changed it."));
  await showWaiting();
}

async function remove(entry) {
  if (!confirm(say("Remove this from the device? The server has not confirmed it."))) return;
  nextId = crypto.randomUUID();
  await drop(entry);
  await showWaiting();
}

// A note from the history brings its category and its amount, except where something else was typed or chosen.
const brought = { amount: "", category: "" };
note.oninput = () => {
  const found = suggestions.find((each) => each.note === note.value);
  const typed = readForm();
  if (found && ["", brought.amount].includes(typed.amount)) {
    amount.value = brought.amount = found.amount.replace("-", "");
    refund.checked = found.amount.startsWith("-");
  }
  if (found && ["", brought.category].includes(typed.category)) choose((brought.category = found.category));
};

function wake() {
  if (document.hidden) return;
  pause = 5;
  // “Today” in the list was another day, or there is no list yet.
  if (shownOn !== findDay(0)) refresh("/");
  showWaiting();
  flush();
}

addEventListener("online", wake);
document.addEventListener("visibilitychange", wake);
addEventListener("pageshow", ({ persisted }) => {
  // This page was here before, and so was its id.
  if (persisted) nextId = crypto.randomUUID();
  wake();
});

if (shell) fillForm(Object.fromEntries(new URLSearchParams(location.search)));
if (location.pathname !== "/") show("notice", "good", say("That page needs reception. An expense can be added all the same."));
navigator.serviceWorker?.register("/service-worker.js").catch(() => {});
