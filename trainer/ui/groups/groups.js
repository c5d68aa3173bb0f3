// Scrubbing, keys and clicks of the Groups tab. Runs when the strip of marks is put in (js_on_load: `element`), once.
// What is looked at is written as JSON into the hidden textbox #groups-asked, which the server reads and checks, and
// into the address. Nothing here makes HTML.
const root = element.closest("#groups");
if (root && !root.dataset.wired) {
    root.dataset.wired = "yes";
    root.tabIndex = -1; // a click on text keeps the keys working
    const state = {asked: {}, begun: false, place: 0, dragging: false, timer: 0, focused: null};
    const $ = (selector) => root.querySelector(selector);
    const strip = () => $(".gg-strip");

    // ---- steps and their places: "1,1,150;200,10,5" is 1 to 150, then 200, 210 ... 240

    const stretches = () => (strip()?.dataset.runs || "").split(";").filter(Boolean).map((one) => one.split(",").map(Number));
    const count = () => stretches().reduce((sum, one) => sum + one[2], 0);
    const stepAt = (place) => {
        for (const [first, distance, many] of stretches()) {
            if (place < many) return first + distance * place;
            place -= many;
        }
        return null;
    };
    const placeOf = (step) => {
        let before = 0, found = 0;
        for (const [first, distance, many] of stretches()) {
            if (step >= first) found = before + Math.min(many - 1, Math.floor((step - first) / distance));
            before += many;
        }
        return found;
    };

    // ---- asking the server

    const write = () => {
        const box = $("#groups-asked textarea, #groups-asked input");
        if (!box) return;
        const kind = box.tagName === "TEXTAREA" ? HTMLTextAreaElement : HTMLInputElement;
        Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(box, JSON.stringify(state.asked));
        box.dispatchEvent(new Event("input", {bubbles: true}));
    };
    const address = () => {
        const here = new URL(window.location);
        for (const name of ["step", "group"]) {
            const value = state.asked[name];
            if (value === undefined) here.searchParams.delete(name);
            else here.searchParams.set(name, value);
        }
        history.replaceState(null, "", here);
    };
    const ask = (changes, wait = 0) => {
        const run = strip()?.dataset.run;
        if (state.asked.run !== run) state.asked = {};
        state.asked = {...state.asked, ...changes, run};
        for (const [name, value] of Object.entries(state.asked)) if (value === undefined) delete state.asked[name];
        clearTimeout(state.timer);
        state.timer = setTimeout(() => { address(); write(); }, wait);
    };
    const followed = () => (state.asked.follow ? $(".gg-panel-head")?.dataset.key : undefined);
    const go = (place, wait = 0) => {
        state.place = Math.max(0, Math.min(count() - 1, place));
        ask({step: stepAt(state.place), group: undefined, whole: undefined, key: followed()}, wait);
        tell();
    };
    const newest = () => {
        ask({step: undefined, group: undefined, whole: undefined, key: followed()});
        state.place = count() - 1;
        tell();
    };

    // ---- telling what is chosen

    const tell = () => {
        const range = $(".gg-range"), at = $(".gg-at"), box = $("[data-newest]"), total = count();
        if (!range || !at || !total) return;
        range.max = total - 1;
        range.value = state.place;
        const step = (stepAt(state.place) ?? 0).toLocaleString("en");
        const values = {step, place: (state.place + 1).toLocaleString("en"), count: total.toLocaleString("en")};
        const text = at.dataset.words.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
        if (at.textContent !== text) at.textContent = text;
        range.setAttribute("aria-valuetext", text);
        for (const button of root.querySelectorAll(".gg-move")) {
            const back = ["first", "previous"].includes(button.dataset.move);
            button.setAttribute("aria-disabled", back ? state.place === 0 : state.place === total - 1);
        }
        box.checked = state.asked.step === undefined;
        box.closest("label").hidden = strip().dataset.live !== "1";
    };
    const begin = () => {
        state.begun = true;
        const here = new URL(window.location).searchParams;
        const step = Number.parseInt(here.get("step"), 10), group = Number.parseInt(here.get("group"), 10);
        if (Number.isNaN(step) || (here.get("run") || strip().dataset.run) !== strip().dataset.run) return;
        ask({step, group: Number.isNaN(group) ? undefined : group});
    };
    const sync = () => {
        if (!strip()) return;
        if (!state.begun) begin();
        if (state.asked.run !== undefined && state.asked.run !== strip().dataset.run) {
            state.asked = {}; // another run: its newest step
            address();
        }
        // What is asked for counts, not the strip: that may still be the answer to a tick that was under way before.
        if (!state.dragging) state.place = placeOf(state.asked.step ?? Number(strip().dataset.step));
        tell();
        const lost = document.activeElement === document.body && state.focused;
        if (lost) $(state.focused)?.focus({preventScroll: true});
    };

    // ---- what a person does

    root.addEventListener("click", (event) => {
        const hit = event.target.closest("[data-move],[data-step],[data-group],[data-whole],[data-follow],[data-side]");
        if (!hit || hit.closest(".gg-strip")) return;
        const told = hit.dataset;
        if (told.move) {
            if (hit.getAttribute("aria-disabled") === "true") return;
            if (told.move === "newest") newest();
            else go({first: 0, previous: state.place - 1, next: state.place + 1}[told.move]);
        } else if (told.step !== undefined) {
            state.place = placeOf(Number(told.step));
            ask({step: Number(told.step), group: Number(told.group), whole: undefined});
        } else if (told.group !== undefined) {
            const step = Number(hit.closest("[data-of]").dataset.of);
            ask({step, group: Number(told.group), whole: undefined, key: undefined});
        } else if (told.whole !== undefined) {
            const head = strip().dataset, group = $(".gg-row[aria-current]")?.dataset.group;
            const whole = [...new Set([...(state.asked.whole || []), Number(told.whole)])];
            ask({step: Number(head.step), group: group === undefined ? state.asked.group : Number(group), whole});
        } else if (told.follow !== undefined) {
            ask({follow: told.follow === "1" || undefined, key: $(".gg-panel-head")?.dataset.key});
        } else if (told.side) {
            ask({[told.side]: Number(told.at)});
        }
        tell();
    });
    root.addEventListener("input", (event) => {
        if (event.target.matches(".gg-range")) go(Number(event.target.value), 90);
    });
    root.addEventListener("change", (event) => {
        if (!event.target.matches("[data-newest]")) return;
        if (event.target.checked) newest();
        else go(state.place);
    });
    // Keys count where nothing else has the focus, too: a link that was opened.
    document.addEventListener("keydown", (event) => {
        if (!root.offsetParent || !(root.contains(event.target) || event.target === document.body)) return;
        const way = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        if (!way || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
        if (event.target.closest("input, textarea, select, [contenteditable=true], [role=listbox], [role=combobox]")) return;
        event.preventDefault();
        go(state.place + way, 60);
    });
    root.addEventListener("focusin", (event) => {
        const told = event.target.dataset || {};
        const name = ["group", "whole", "follow"].find((one) => told[one] !== undefined);
        state.focused = name === "follow" ? "[data-follow]" : name ? `[data-${name}="${told[name]}"]` : null;
    });

    // ---- the pointer on the marks

    const under = (event) => {
        const box = strip().getBoundingClientRect();
        return Math.floor(((event.clientX - box.left) / Math.max(1, box.width)) * count());
    };
    root.addEventListener("pointerdown", (event) => {
        if (!event.target.closest(".gg-strip") || event.button !== 0) return;
        state.dragging = true;
        go(under(event), 60);
    });
    window.addEventListener("pointermove", (event) => {
        if (state.dragging && strip()) go(under(event), 60);
    });
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, () => { state.dragging = false; });

    new MutationObserver(sync).observe(root, {childList: true, subtree: true});
    sync();
}
