// The form of Train. It holds what was chosen and typed, keeps it over a reload, asks the server (tab.py) what that comes
// to, and puts the answers in their places: controls stay where they are, so that no typing is lost.
//
// Given by gr.HTML: element, trigger(event), props.value (what the server is sent). An answer comes as the event "train".

const WAIT_MS = 400; // after the last key
const SLOW_MS = 1500; // until what is shown is seen to be of the settings before
const SILENT_MS = 10000;
const MOST_FILE = 64000;

const root = element.querySelector(".t-root");
let answer = null; // the last one of the server
let still = null; // what depends on the language only
let serial = 0; // of the last question what the form comes to
let turn = 0; // of the last question at all: an answer that is equal to the one before would not arrive
let typing = null;
let silence = null;
let slow = null;
let waiting = []; // what needs an answer to all that was typed
let rowsShown = ""; // the settings whose rows are shown
let shape = ""; // of the table of rewards
let isNew = false;
let isStarting = false;
let isFirst = false; // what is being started is the run of the first screen
let isBroken = false; // the last question had no answer

// ---- asking

function ask(event, more = {}) {
    clearTimeout(typing);
    typing = null;
    if (event === "check") clearTimeout(making);
    turn += 1;
    if (event === "check") serial += 1;
    const changes = [...state.changes].map(([key, text]) => `${key}=${text}`);
    const base = Object.values(state.base)[0] ? state.base : undefined;
    const sent = { base, recipes: state.recipes, changes, name: state.name, serial, turn, have: still ? still.language : "", making: answer?.making?.file, ...more };
    props.value = base ? JSON.stringify(sent) : "";
    save();
    clearTimeout(silence);
    silence = setTimeout(() => silent(event), SILENT_MS);
    if (event === "check") {
        clearTimeout(slow);
        slow = setTimeout(() => slot("verdict")?.classList.add("t-busy"), SLOW_MS);
    }
    if (event === "check") trigger("input");
    if (event === "settle") trigger("settle");
    if (event === "look") trigger("look");
    if (event === "why") trigger("why");
    if (event === "attempt") trigger("attempt");
    if (event === "start") trigger("start");
    if (event === "own") trigger("own");
}

// No answer came: what is shown is of the settings before.
function silent(event) {
    if (!still || event === "settle") return; // that may take longer, and says so
    say(still.words.silent);
    if (isFirst) showFirst(false);
    ownUnanswered();
    if (event === "check" && answer) unfit("");
}

function unfit(verdict) {
    settled();
    fillSlot("verdict", verdict);
    fillSlot("plan", "");
    if (!answer) return;
    answer.right = false;
    rowsShown = "";
    showStart();
}

function asked() {
    clearTimeout(typing);
    save();
    typing = setTimeout(() => ask("check"), WAIT_MS);
}

// Run it with an answer to all that was typed: it builds on the values.
function whenAnswered(work) {
    if (answer && answer.serial === serial && typing === null) return work();
    waiting.push(work);
    ask("check");
}

// What a control shows now; what it showed before the changes is no change.
function setTo(key, shown, text) {
    const inReplaced = key.startsWith(`${COMPONENTS}.`) && state.changes.has(COMPONENTS);
    const inRemoved = [...state.changes].some(([other, value]) => !value && key.startsWith(`${other}.`));
    if (answer && answer.before[key] === shown && !inReplaced && !inRemoved) state.changes.delete(key);
    else put(key, text);
}

// ---- showing

const slot = (name) => root.querySelector(`[data-slot="${name}"]`);

function fillSlot(name, html) {
    const place = slot(name);
    if (place && place.dataset.html !== html) {
        place.innerHTML = html;
        place.dataset.html = html;
    }
}

function say(text) {
    const place = slot("note");
    if (place) place.textContent = text;
}

function settled() {
    clearTimeout(slow);
    slot("verdict").classList.remove("t-busy");
}

function show() {
    settled();
    fillSlot("verdict", answer.verdict);
    fillSlot("plan", answer.plan);
    slot("command").textContent = answer.command;
    say(answer.note);
    const link = root.querySelector("[data-toml]");
    link.hidden = !answer.toml;
    link.href = answer.toml || "#";
    link.download = answer.toml_name;
    showStart();
    showRewards();
    showRecipes();
    showValues();
    showErrors();
    showMaking();
    showNotice();
    for (const radio of root.querySelectorAll('[name="t-preset"]')) radio.checked = radio.value === state.base.preset;
    // The figures of the card are those of the preset as it is.
    root.classList.toggle("t-other", ["model.name", "data.path", "data.task"].some((key) => state.changes.has(key)));
    if (isNew) toChosen();
    isNew = false;
}

// The chosen card is seen, also one that is folded.
function toChosen() {
    const fold = root.querySelector(".t-class:has(input:checked)");
    if (fold) fold.open = true;
}

function showStart() {
    const button = root.querySelector("[data-start]");
    button.disabled = isStarting || !answer.right || ownAsked;
    button.textContent = isStarting ? still.words.starting : still.words.start;
}

function showRewards() {
    const now = JSON.stringify([still.language, answer.shape]);
    if (shape === now) return;
    const open = [...slot("rewards").querySelectorAll("details")].map((each) => each.open);
    slot("rewards").innerHTML = answer.rewards;
    slot("rewards").querySelectorAll("details").forEach((each, place) => (each.open = open[place] || false));
    shape = now;
}

function showRecipes() {
    for (const box of root.querySelectorAll("[data-recipe]")) box.checked = state.recipes.includes(box.dataset.recipe);
    if (answer.recipe_changes !== null) fillSlot("recipes", answer.recipe_changes);
}

function showValues() {
    for (const control of root.querySelectorAll("[data-key]")) {
        const value = answer.values[control.dataset.key] ?? "";
        if (control !== document.activeElement && typing === null) {
            if (control.type === "checkbox") control.checked = value === "true";
            else if (control.value !== value) control.value = value;
            // Of a long path the end tells which file it is.
            if (control.dataset.key === "data.path") control.scrollLeft = control.scrollWidth;
        }
        showChanged(control, value);
    }
    const hub = root.querySelector("[data-own-hub]");
    hub.hidden = !hubPath() || state.own?.path === hubPath();
    hub.disabled = ownAsked;
    showWeights();
    for (const group of root.querySelectorAll("[data-group]"))
        group.classList.toggle("t-is-out", !answer.values[group.dataset.group]);
    const lines = root.querySelector("[data-trl]");
    if (lines !== document.activeElement)
        lines.value = Object.entries(answer.trl).map(([key, text]) => `${key} = ${text}`).join("\n");
    const name = root.querySelector("[data-name]");
    if (name !== document.activeElement) name.value = state.name;
    for (const count of root.querySelectorAll("[data-count]")) {
        const number = root.querySelectorAll(`.t-changed[data-field^="${count.dataset.count}"]`).length;
        const lines = count.dataset.count === "trl." ? [...state.changes.keys()].filter((key) => key.startsWith("trl.")) : [];
        count.textContent = changed(number + lines.length);
    }
}

function changed(count) {
    if (!count) return "";
    return (count === 1 ? still.words.changed_one : still.words.changed_many).replace("{count}", count);
}

function showChanged(control, value) {
    const key = control.dataset.key;
    const before = answer.before[key] ?? "";
    const isChanged = value !== before;
    const field = control.closest("[data-field]");
    field.classList.toggle("t-changed", isChanged);
    const undo = field.querySelector("[data-undo]");
    // What a task brings along goes with it.
    const near = (other) => key === other || key.startsWith(`${other}.`) || other.startsWith(`${key}.`);
    undo.hidden = !isChanged || ![...state.changes.keys()].some(near);
    if (isChanged) {
        const short = before.length > 24 ? `${before.slice(0, 24)}\u2026` : before;
        undo.textContent = `\u21ba ${short || still.words.undo_empty}`;
        undo.setAttribute("aria-label", `${still.words.undo}: ${key} = ${before || still.words.undo_empty}`);
        undo.title = undo.getAttribute("aria-label");
    }
}

function showErrors() {
    for (const place of root.querySelectorAll(".t-error")) {
        place.hidden = true;
        place.innerHTML = "";
    }
    for (const control of root.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
    for (const error of answer.errors) {
        let key = error.where;
        let place = null;
        while (key && !(place = document.getElementById(`t-${key}-error`)))
            key = key.includes(".") ? key.slice(0, key.lastIndexOf(".")) : "";
        if (!place) continue;
        const box = document.createElement("div");
        box.innerHTML = error.html;
        place.append(box);
        place.hidden = false;
        document.getElementById(`t-${key}`)?.setAttribute("aria-invalid", "true");
        for (let fold = place.closest("details"); fold; fold = fold.parentElement.closest("details")) {
            // Of what was folded only what is wrong is shown: the rest comes with a click.
            if (!fold.open) fold.classList.add("t-few");
            fold.open = true;
        }
    }
    for (const fold of root.querySelectorAll(".t-few")) {
        if (fold.querySelector(".t-error:not([hidden])") || fold.contains(document.activeElement)) continue;
        fold.classList.remove("t-few");
        fold.open = false;
    }
}

function showNotice() {
    const place = slot("notice");
    const [kind, base] = Object.entries(state.base)[0];
    const own = state.own?.keys ?? [];
    const keys = [...state.changes.keys()].filter((key) => !own.includes(key));
    place.hidden = kind === "preset" && !state.changes.size && !state.recipes.length;
    if (place.hidden) return;
    const from = { preset: still.words.from_preset, run: still.words.from_run, toml: still.words.from_file }[kind];
    let text = from.replace("{name}", kind === "toml" ? state.base.file : base);
    if (state.recipes.length) text += still.words.with_recipes.replace("{names}", state.recipes.join(", "));
    if (own.length) text += still.words.with_own;
    if (keys.length) text += still.words.with_changes.replace("{keys}", keys.join(", "));
    place.querySelector("span").textContent = text;
    place.querySelector("button").hidden = !state.changes.size && !state.recipes.length;
}

// ---- answers

document.addEventListener("train", (event) => {
    if (!event.detail || !element.isConnected) return;
    const found = JSON.parse(event.detail);
    clearTimeout(silence);
    if (found.kind === "checked") checked(found);
    if (found.kind === "broken") broken(found);
    if (found.kind === "refused") (isFirst ? firstRefused : refused)(found);
    if (found.kind === "looked") settle("looked", found.html, "[data-ask]");
    if (found.kind === "tried") settle("tried", found.html, "[data-try]");
    if (found.kind === "owned") owned(found);
    if (found.kind === "why") {
        // The cards may have been drawn anew, in another language, since it was asked.
        const place = root.querySelector(`[data-reasons="${CSS.escape(String(found.why))}"] > div`);
        if (place) place.innerHTML = found.html;
    }
    if (found.kind === "started") {
        isStarting = false;
        if (isFirst) window.tourBegins();
        else state.name = "";
        showFirst(false);
        ask("check");
    }
});

function checked(found) {
    if (!Object.values(state.base)[0]) state.base = { preset: found.base };
    lay(found.still);
    if (!still || (isBroken && found.serial === undefined)) return ask("check"); // an answer to another form
    isBroken = false;
    const last = (found.serial ?? 0) >= serial || !answer;
    if (!last) return;
    answer = found;
    show();
    if (!found.settled && typing === null) ask("settle");
    const work = waiting;
    if (typing === null) waiting = [];
    if (typing === null) for (const each of work) each();
    lookAgain();
}

// The form itself, when it is new or in another language.
function lay(found) {
    if (!found || (still && still.language === found.language)) return;
    const typed = root.querySelector("[data-typed]")?.value ?? "";
    still = found;
    root.innerHTML = still.html;
    root.lang = still.language;
    root.querySelector("[data-typed]").value = typed;
    shape = "";
    rowsShown = "";
    isNew = true;
}

// Without an answer nothing that is shown holds any more: neither the rows nor that it is ready.
function broken(found) {
    if ((found.serial ?? serial) < serial) return;
    lay(found.still);
    isBroken = true;
    if (answer) markFormer(true);
    unfit(found.verdict);
}

// The form is another matter: what it comes to is asked again, as the last question was not about it.
function firstRefused(found) {
    showFirst(false);
    fillSlot("first", found.verdict);
    ask("check");
}

function showFirst(busy) {
    const button = root.querySelector("[data-first]");
    isFirst = busy;
    if (!button) return;
    button.disabled = busy;
    button.textContent = busy ? still.words.starting : still.words.see;
    if (busy) fillSlot("first", "");
}

function refused(found) {
    isStarting = false;
    if (!still) return;
    fillSlot("verdict", found.verdict);
    slot("verdict").scrollIntoView({ block: "nearest" });
    if (answer) showStart();
}

function settle(name, html, buttons) {
    if (!still) return;
    fillSlot(name, html);
    slot(name).classList.remove("t-busy");
    for (const button of root.querySelectorAll(buttons)) button.disabled = false;
}

// The rows are looked at again when a setting that makes them has changed.
function lookAgain() {
    const parts = Object.entries(answer.values).filter(([key]) => key.startsWith("data.") || key === "model.name");
    const now = JSON.stringify([still.language, state.base, parts]);
    // While other settings are wrong the rows cannot be read: what is shown is of the settings before.
    markFormer(!answer.built && !answer.making && now !== rowsShown);
    if (now === rowsShown || !answer.built) return;
    rowsShown = now;
    busy("looked", "[data-ask]");
    ask("look");
}

// When a run would be done that is started now, in the server's time: said once, it would be wrong a minute later.
function clock({ lasts, zone }) {
    const at = (ms) => new Date(ms + zone * 60000).toISOString();
    const [now, then] = [at(Date.now()), at(Date.now() + lasts * 1000)];
    const [day, time] = [then.slice(0, 10), then.slice(11, 16)];
    return now.startsWith(day) ? time : `${day} ${time}`;
}

setInterval(() => {
    for (const place of root.querySelectorAll("[data-lasts]")) place.textContent = clock(place.dataset);
}, 20000);

function markFormer(isFormer) {
    const place = slot("looked");
    place.querySelector(":scope > .t-former")?.remove();
    if (!isFormer || !place.dataset.html) return;
    const note = document.createElement("p");
    note.className = "t-former";
    note.setAttribute("role", "status");
    note.textContent = still.words.former_rows;
    place.prepend(note);
}

function busy(name, buttons) {
    slot(name).classList.add("t-busy");
    for (const button of root.querySelectorAll(buttons)) button.disabled = true;
}
