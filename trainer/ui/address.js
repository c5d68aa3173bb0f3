/* The address keeps what is looked at: a reload and a sent link show the same, Back and Forward move between tabs and runs.

   What is looked at is in two hidden fields of the page, #run and #here. page.py calls pageAddress at every change of
   them or of the language. Groups keeps its step and group in the address as well (groups/groups.js). */
(() => {
  "use strict";
  const TOGETHER_MS = 50; // a run that was just started brings its name and the tab Live in two changes
  const PATIENCE_MS = 3000;
  let back = null; // what Back or Forward asks for, until the page is there
  let waiting = 0;

  const looked = () => {
    const asked = new URL(window.location).searchParams;
    return {run: asked.get("run") || "", here: asked.get("tab") || ""};
  };
  const write = (run, language, here) => {
    const address = new URL(window.location), before = looked();
    if (run) address.searchParams.set("run", run);
    address.searchParams.set("lang", language);
    if (here) address.searchParams.set("tab", here);
    if (address.href === window.location.href) return;
    const moved = before.here && (before.here !== here || (before.run && before.run !== run));
    history[moved ? "pushState" : "replaceState"](null, "", address);
  };
  const put = (name, value) => {
    const field = document.querySelector(`#${name} textarea, #${name} input`);
    if (!field || !value || field.value === value) return;
    field.value = value;
    field.dispatchEvent(new Event("input", {bubbles: true}));
  };

  window.pageTurn = (here) => put("here", here);
  window.pageRun = (run) => put("run", run);
  window.pageAddress = (run, language, here) => {
    document.documentElement.lang = language;
    document.documentElement.dataset.here = here;
    if (back && ((back.run && back.run !== run) || (back.here && back.here !== here))) return;
    back = null;
    clearTimeout(waiting);
    waiting = setTimeout(write, TOGETHER_MS, run, language, here);
  };
  window.addEventListener("popstate", () => {
    const asked = looked();
    clearTimeout(waiting); // of the page that is left
    back = asked;
    setTimeout(() => { if (back === asked) back = null; }, PATIENCE_MS); // a run that is gone never comes
    put("run", asked.run);
    put("here", asked.here);
  });
})();
