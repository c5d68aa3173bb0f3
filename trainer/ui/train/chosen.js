// What the form of Train holds: the settings it starts from and the changes to them, kept over a reload. form.js follows.

const STORE = "train-form";
const COMPONENTS = "reward.components";
const state = loaded();

function loaded() {
    const empty = { base: { preset: "" }, recipes: [], changes: new Map(), name: "", kept: {}, own: null, owns: {}, recipesOf: {} };
    try {
        const stored = JSON.parse(sessionStorage.getItem(STORE));
        return { ...empty, ...stored, changes: new Map(stored.changes) };
    } catch {
        return empty;
    }
}

function save() {
    try {
        sessionStorage.setItem(STORE, JSON.stringify({ ...state, changes: [...state.changes] }));
    } catch {
        // Without storage a reload begins anew; nothing else is lost.
    }
}

function start(base, changes) {
    state.base = base;
    state.recipes = [];
    state.own = null;
    state.changes = new Map();
    for (const change of changes) put(...split(change));
}

function split(change) {
    const at = change.indexOf("=");
    return at < 0 ? [change.trim(), ""] : [change.slice(0, at).trim(), change.slice(at + 1)];
}

// In the order in which they were chosen: of two that set the same key the later one holds.
function chooseRecipe(name, isChosen) {
    state.recipes = state.recipes.filter((other) => other !== name);
    if (isChosen) state.recipes.push(name);
}

// A change of a list replaces those of its parts; without a text the key is left out.
function put(key, text) {
    if (key === COMPONENTS) dropAll(`${COMPONENTS}.`);
    state.changes.delete(key);
    state.changes.set(key, text);
}

function dropAll(prefix) {
    for (const key of [...state.changes.keys()]) if (key.startsWith(prefix)) state.changes.delete(key);
}

// As --set reads it: bare where that is the same, else in quotes.
function encoded(kind, text) {
    if (kind === "string") return text ? JSON.stringify(text).replaceAll("\x7f", "\\u007f") : "";
    if (kind !== "text" && kind !== "lines") return text.trim();
    return /^\s|\s$|[\n\r]|^["'[{]/.test(text) ? JSON.stringify(text).replaceAll("\x7f", "\\u007f") : text;
}

// Changes to each preset, and its recipes, are kept while another one is looked at.
function choose(name) {
    if (state.base.preset) {
        state.kept[state.base.preset] = [...state.changes];
        state.owns[state.base.preset] = state.own;
        state.recipesOf[state.base.preset] = state.recipes;
    }
    state.base = { preset: name };
    state.own = state.owns[name] ?? null;
    state.recipes = state.recipesOf[name] ?? [];
    state.changes = new Map(state.kept[name] || []);
}
