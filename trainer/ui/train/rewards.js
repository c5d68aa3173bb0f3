// The editor of rewards: sliders, the sentence and the tries that follow them, functions and files. form.js comes before.

// What a weight is now: as it stands in its field, also while it is typed.
function weightOf(place) {
    const field = root.querySelector(`[data-key="${COMPONENTS}.${place}.weight"]`);
    return Number(field ? field.value : answer.values[`${COMPONENTS}.${place}.weight`]);
}

function written(value) {
    return Number.isFinite(value) ? String(Number(value.toPrecision(3))) : "-";
}

function slid(slider) {
    const field = root.querySelector(`[data-key="${slider.dataset.slider}"]`);
    field.value = slider.value;
    setTo(slider.dataset.slider, slider.value, slider.value);
    showWeights();
    asked();
}

// Sliders, the sentence and the tries as the weights are; the server counts again when it is asked.
function showWeights() {
    for (const slider of root.querySelectorAll("[data-slider]")) {
        const value = Number(root.querySelector(`[data-key="${slider.dataset.slider}"]`).value);
        if (!Number.isFinite(value) || slider === document.activeElement) continue;
        slider.max = Math.max(2, value);
        slider.min = Math.min(-1, value);
        slider.value = value;
    }
    for (const told of root.querySelectorAll("[data-weight-of]")) {
        const field = root.querySelector(`[data-key="${told.dataset.weightOf}"]`);
        told.textContent = field ? written(Number(field.value)) : "";
    }
    showTotals();
    for (const area of root.querySelectorAll("[data-component-text]"))
        if (area !== document.activeElement) area.value = answer.components[Number(area.dataset.componentText)] ?? "";
}

function showTotals() {
    const table = root.querySelector("table[data-divide]");
    if (!table) return;
    const paid = {};
    for (const row of table.querySelectorAll("tr[data-values]")) {
        const values = JSON.parse(row.dataset.values);
        if (values.length !== answer.components.length) return; // tried with other components
        const known = values.map((value, place) => (value === null ? null : value * weightOf(place))).filter((one) => one !== null);
        if (!known.length) continue;
        const total = known.reduce((sum, one) => sum + one, 0) / Number(table.dataset.divide);
        row.cells[2].textContent = written(total);
        (paid[row.dataset.what] ??= []).push(total);
    }
    for (const mean of root.querySelectorAll("[data-mean]")) {
        const found = paid[mean.dataset.mean];
        if (found) mean.textContent = written(found.reduce((sum, one) => sum + one, 0) / found.length);
    }
}

// The arguments of one function are not those of another.
function otherFunction(key) {
    const params = key.replace(/function$/, "params");
    dropAll(`${params}.`);
    state.changes.delete(params);
    if (state.changes.has(key)) put(params, "");
}

function addChosen() {
    addComponent(`{function = "${root.querySelector("[data-add-function]").value}", weight = 1.0}`);
}

function addComponent(text) {
    setComponents([...answer.components, text]);
    whenAnswered(() => answer.right && attempt());
}

function componentText(area) {
    const place = Number(area.dataset.componentText);
    const text = area.value.replace(/\s*\n\s*/g, " ").trim();
    whenAnswered(() => setComponents(answer.components.map((one, at) => (at === place ? text : one)).filter(Boolean)));
}

// ---- a Python file of one's own: its functions are listed, nothing of it is run

async function chooseCode(control) {
    const file = control.files[0];
    control.value = "";
    const path = file && (await sent(file, "code"));
    if (path) lookAtCode(path);
}

function lookAtCode(path) {
    if (path) whenAnswered(() => ask("own", { code: path }));
}
