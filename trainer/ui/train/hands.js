// What hands do with the form of Train. form.js comes before.

root.addEventListener("input", (event) => {
    const control = event.target;
    if (control.matches("[data-name]")) {
        state.name = control.value;
        return asked();
    }
    if (control.matches("[data-trl]")) {
        typedLines(control.value);
        return asked();
    }
    if (control.matches("[data-slider]")) return slid(control);
    if (!control.dataset.key || control.type === "checkbox" || control.tagName === "SELECT") return;
    if (control.dataset.key === "data.path") pathTyped = true;
    setTo(control.dataset.key, control.value, encoded(control.dataset.kind, control.value));
    asked();
});

root.addEventListener("change", async (event) => {
    const control = event.target;
    if (control.matches('[name="t-preset"]')) {
        const mine = carried();
        ownUnanswered(true);
        ownAsked = Boolean(mine); // not started without them
        choose(control.value);
        ask("check");
        if (mine) whenAnswered(() => ownRows(mine.path, mine));
    } else if (control.matches("[data-choose]")) await chooseFile(control);
    else if (control.matches("[data-load]")) await load(control);
    else if (control.matches("[data-recipe]")) {
        chooseRecipe(control.dataset.recipe, control.checked);
        ask("check");
    } else if (control.matches("[data-column]")) ownColumn(control.dataset.column, control.value) || mapped(control.dataset.column, control.value);
    else if (control.dataset.key && (control.type === "checkbox" || control.tagName === "SELECT")) {
        const shown = control.type === "checkbox" ? String(control.checked) : control.value;
        if (control.dataset.key === "data.task" && shown) ownOut();
        setTo(control.dataset.key, shown, shown);
        if (/^reward\..*\.function$/.test(control.dataset.key)) otherFunction(control.dataset.key);
        ask("check");
    } else if (control.matches("[data-choose-code]")) await chooseCode(control);
    else if (control.matches("[data-component-text]")) componentText(control);
});

root.addEventListener("focusout", (event) => {
    if (event.target.dataset.key === "data.path" && pathTyped) ownPath(event.target.value.trim());
    // While it was typed in, it was left alone.
    if (event.target.dataset.key && answer && typing === null) setTimeout(() => showValues());
});

root.addEventListener("click", (event) => {
    const few = event.target.closest("summary")?.parentElement;
    if (few?.classList.contains("t-few")) {
        few.classList.remove("t-few");
        return event.preventDefault();
    }
    const button = event.target.closest("button");
    if (!button || !root.contains(button)) return;
    const { fix, fits, undo, out, remove, instead, keep, rename, how } = button.dataset;
    if (how) {
        isStarting = true;
        showStart();
        ask("start", { how });
    } else if (fix) apply(answer.ways[Number(fix.split(".")[0])][Number(fix.split(".")[1])]);
    else if (fits) apply(answer.fits[Number(fits)]);
    else if (rename) {
        state.name = rename;
        ask("check");
    } else if (undo) apply({ changes: [], undo: [undo] });
    else if (instead) {
        const kept = keep ? [...state.changes].filter(([key]) => key.startsWith(keep)) : [];
        choose(instead);
        for (const [key, text] of kept) put(key, text);
        ask("check");
    } else if (out) leaveOut(out);
    else if (remove) whenAnswered(() => setComponents(answer.components.filter((_, place) => place !== Number(remove))));
    else if ("add" in button.dataset) whenAnswered(addChosen);
    else if ("undoAll" in button.dataset) {
        state.changes.clear();
        state.recipes = [];
        state.own = null;
        ask("check");
    } else if ("copy" in button.dataset) copy(button);
    else if ("paste" in button.dataset) paste();
    else if ("codeLook" in button.dataset) lookAtCode(root.querySelector("[data-code-path]").value.trim());
    else if ("addOwn" in button.dataset) whenAnswered(() => addComponent(button.dataset.addOwn));
    else if ("ownBack" in button.dataset) ownBack();
    else if ("ownHub" in button.dataset) {
        button.disabled = true;
        whenAnswered(() => ownRows(hubPath()));
    }
    else if ("ask" in button.dataset) {
        busy("looked", "[data-ask]");
        ask("look", { ask: button.dataset.ask });
    } else if ("try" in button.dataset) attempt();
    else if ("own" in button.dataset) toData();
    else if ("first" in button.dataset) {
        showFirst(true); // of the preset as it is, whatever the form holds
        ask("start", { base: { preset: button.dataset.first }, recipes: [], changes: [], name: "" });
    } else if ("start" in button.dataset) {
        isStarting = true;
        showStart();
        ask("start");
    }
});

// A fold does not say that it was opened to what lies around it.
root.addEventListener("toggle", (event) => {
    const name = event.target.dataset.reasons;
    if (name && event.target.open && !event.target.querySelector("div").innerHTML)
        whenAnswered(() => ask("why", { why: name }));
}, true);

function toData() {
    const part = root.querySelector('[data-part="data"]');
    document.dispatchEvent(new CustomEvent("train-own"));
    part.scrollIntoView({ block: "start" });
    part.querySelector("input, select, button")?.focus({ preventScroll: true });
}

async function load(control) {
    const file = control.files[0];
    control.value = "";
    if (!file) return;
    if (file.size > MOST_FILE) return say(still.words.too_large);
    start({ toml: await file.text(), file: file.name }, []);
    ask("check");
}

function mapped(ours, theirs) {
    const key = `data.columns.${ours}`;
    state.changes.delete(key);
    const before = answer.columns_before[ours];
    if (theirs === ours && before !== undefined) put(key, "");
    else if (theirs && theirs !== (before ?? ours)) put(key, encoded("text", theirs));
    ask("check");
}

function apply(way) {
    if (state.own && way.undo.some((key) => key === "data.path" || key === "data.name")) return ownBack();
    for (const key of way.undo) state.changes.delete(key);
    for (const change of way.changes) put(...split(change));
    document.activeElement?.blur();
    ask("check");
}

function leaveOut(group) {
    dropAll(`${group}.`);
    state.changes.delete(group);
    if (answer.before[group]) put(group, "");
    ask("check");
}

function setComponents(components) {
    const before = answer.components_before;
    const isBefore = components.length === before.length && components.every((one, place) => one === before[place]);
    put(COMPONENTS, `[${components.join(", ")}]`);
    if (isBefore) state.changes.delete(COMPONENTS);
    ask("check");
}

function typedLines(text) {
    dropAll("trl.");
    const seen = new Set();
    for (const line of text.split("\n")) {
        const [key, value] = split(line);
        if (!key || key.startsWith("#")) continue;
        seen.add(key);
        if (answer.trl_before[key] !== value.trim()) put(`trl.${key}`, value.trim());
    }
    for (const key of Object.keys(answer.trl_before)) if (!seen.has(key)) put(`trl.${key}`, "");
}

async function copy(button) {
    try {
        await navigator.clipboard.writeText(answer.command);
    } catch {
        getSelection().selectAllChildren(slot("command")); // without the right to copy: ready for Ctrl-C
        return;
    }
    button.textContent = still.words.copied;
    setTimeout(() => (button.textContent = still.words.copy), 1500);
}

// ---- from another tab

function takeOver() {
    const sent = window.trainChange;
    window.trainChange = null;
    if (!sent) return false;
    let change = null;
    try {
        change = JSON.parse(sent);
    } catch {
        return false;
    }
    if (!change || !change.base) return false;
    start(change.base, change.changes || []);
    save();
    return true;
}

document.addEventListener("train-change", () => takeOver() && ask("check"));

takeOver();
ask("check");
