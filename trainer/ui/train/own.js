// Rows of one's own: dropped, chosen, pasted or named by a path. All changes that come with them (own.py) are put in as
// one step and taken back as one. form.js comes before.

const MOST_SENT = 512 * 2 ** 20;
let ownAsked = false; // what comes with these rows is being looked at: nothing is started without it
let ownAsking = null; // the path that is asked about, and what to keep of what was chosen before
let pathTyped = false; // since the field of the path was left

// ---- bringing a file here

// The path under which the server keeps a file, null when it was refused.
async function sent(file, place) {
    fillSlot(place, "");
    if (file.size > MOST_SENT) return told(place, still.words.file_large);
    told(place, still.words.sending.replace("{name}", file.name));
    try {
        const query = new URLSearchParams({ name: file.name, lang: still.language });
        const headers = { "Content-Type": "application/octet-stream" };
        const response = await fetch(`/files?${query}`, { method: "POST", headers, body: file });
        const found = await response.json();
        if (found.path) return told(place, ""), found.path;
        return told(place, found.problem, true);
    } catch {
        return told(place, still.words.not_sent, true);
    }
}

function told(place, text, isWrong = false) {
    const line = document.createElement("p");
    line.textContent = text;
    line.className = isWrong ? "t-error" : "t-small";
    fillSlot(place, text ? line.outerHTML : "");
    return null;
}

async function chooseFile(control) {
    const file = control.files[0];
    control.value = "";
    if (file) await takeFile(file);
}

async function takeFile(file) {
    const path = await sent(file, "chosen");
    if (path) whenAnswered(() => ownRows(path));
}

// Pasted rows become a file like any other: JSON by their first sign, else a table.
function paste() {
    const area = root.querySelector("[data-pasted]");
    const text = area.value.trim();
    if (!text) return area.focus();
    const kind = text[0] === "[" ? "json" : text[0] === "{" ? "jsonl" : text.split("\n")[0].includes("\t") ? "tsv" : "csv";
    takeFile(new File([`${text}\n`], `${still.words.pasted}.${kind}`));
}

for (const kind of ["dragover", "dragleave", "drop"])
    root.addEventListener(kind, (event) => {
        const zone = event.target.closest("[data-drop]");
        if (!zone) return;
        event.preventDefault();
        zone.classList.toggle("t-over-it", kind === "dragover");
        if (kind === "drop" && event.dataTransfer.files[0]) takeFile(event.dataTransfer.files[0]);
    });

// A Hub dataset whose name was typed stands where a path does (hub_rows.py); nothing is fetched before that is asked for.
function hubPath() {
    const typed = (key) => state.changes.get(key)?.trim() || "";
    return typed("data.name") ? `hub:${typed("data.name")}|${typed("data.config")}|${typed("data.split")}` : "";
}

// ---- what comes with it

function ownRows(path, kept = {}) {
    ownAsked = true;
    ownAsking = { path, kept };
    if (answer) showStart();
    const stay = Boolean(kept.path || state.own); // a model was chosen for these rows already
    ask("own", { path, stay, columns: kept.columns || {}, changes: [...withoutOwn()].map(([key, text]) => `${key}=${text}`) });
}

// The changes as they would be without one's own rows.
function withoutOwn() {
    if (!state.own) return new Map([...state.changes].filter(([key]) => !/^data\.(path|name|config|split)$/.test(key))); // as typed
    const { keys, before } = state.own;
    const isOwn = (key) => keys.includes(key) || /^(data|reward|model\.warm_start)\b/.test(key);
    return new Map([...[...state.changes].filter(([key]) => !isOwn(key)), ...before.filter(([key]) => isOwn(key))]);
}

// Another preset was chosen meanwhile, or no answer came: nothing waits for it any more.
function ownUnanswered(isOver = false) {
    ownAsked = false;
    if (isOver) ownAsking = null;
    if (answer) showStart();
}

// A path that was typed. One that cannot be read is said beside its field.
function ownPath(path) {
    pathTyped = false;
    if (!answer || !path || [answer.before["data.path"], state.own?.path, ownAsking?.path].includes(path)) return;
    whenAnswered(() => ownRows(path));
}

function owned(found) {
    if (found.code !== undefined) return fillSlot("code", found.code);
    const { path, kept } = ownAsking || {};
    if (path === undefined || found.path !== path) return; // of rows that were chosen before the last ones
    ownAsked = false;
    ownAsking = null;
    if (found.preset) return proposed(found.preset, path);
    if (!found.changes) {
        fillSlot("chosen", state.changes.get("data.path") === path ? "" : found.html || "");
        return answer && showStart();
    }
    const before = state.own?.before ?? [...withoutOwn()];
    state.changes = withoutOwn();
    dropAll("data.columns.");
    dropAll("data.task");
    for (const change of found.changes) put(...split(change));
    for (const [key, text] of kept.reward || []) put(key, text);
    state.own = { path, from: kept.from, before, keys: found.changes.map((change) => split(change)[0]), reward: rewardNow() };
    fillSlot("chosen", "");
    root.querySelector("[data-pasted]").value = "";
    root.querySelector(".t-paste").open = false;
    ask("check");
    whenAnswered(attempt);
}

// A model that can be taught these rows, in place of one that knows nothing.
function proposed(preset, path) {
    const from = state.base.preset;
    for (const key of ["data.path", "data.name", "data.config", "data.split"]) dropAll(key);
    choose(preset);
    state.changes = withoutOwn();
    state.own = null;
    ownAsked = true;
    ask("check");
    whenAnswered(() => ownRows(path, { path, from }));
}

// The preset's rows again, and everything that came with one's own taken back.
function ownBack() {
    if (!state.own) return;
    const from = state.own.from;
    state.changes = withoutOwn();
    state.own = null;
    if (from) choose(from);
    ask("check");
}

// A task makes its rows itself: what came with one's own goes.
function ownOut() {
    if (!state.own) return;
    state.changes = withoutOwn();
    state.own = null;
}

function rewardNow() {
    return JSON.stringify([...state.changes].filter(([key]) => key.startsWith("reward.")));
}

function columnsNow() {
    const places = [...root.querySelectorAll("[data-column]")].filter((each) => each.value);
    return Object.fromEntries(places.map((each) => [each.dataset.column, each.value]));
}

// Another column of the same rows: another reward may fit it, unless somebody has changed the reward.
function ownColumn(ours, theirs) {
    if (!state.own || !["prompt", "answer", "tests"].includes(ours) || !theirs) return false;
    if (rewardNow() !== state.own.reward) return false;
    ownRows(state.own.path, { columns: { ...columnsNow(), [ours]: theirs } });
    return true;
}

// One's own rows stay when another preset is chosen, with their columns and rewards.
function carried() {
    if (!state.own) return null;
    const reward = [...state.changes].filter(([key]) => key.startsWith("reward."));
    return { path: state.own.path, columns: columnsNow(), reward };
}

function attempt() {
    busy("tried", "[data-try]");
    ask("attempt", { typed: root.querySelector("[data-typed]").value });
}

// ---- the rows of a task, while they are made

const MAKING_MS = 1000; // between two questions how far they are
let making = null;

// What was there stays: its button may be under a finger.
function showMaking() {
    clearTimeout(making);
    const shown = slot("looked").querySelector(".t-making");
    if (!answer.making) return shown && fillSlot("looked", "");
    rowsShown = "";
    fillSlot("looked", answer.making.html);
    const { text, done, size } = answer.making;
    root.querySelector(".t-making p").textContent = text;
    Object.assign(root.querySelector(".t-making progress"), { max: size, value: done });
    making = setTimeout(() => typing === null && ask("check"), MAKING_MS);
}
