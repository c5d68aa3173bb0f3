/* "Skip to Start" (heading.py): for who has only a keyboard. Turns to Train and gives Start the focus. While it cannot be
   pressed its part takes the focus, which says why. */
(() => {
  "use strict";
  const PATIENCE_MS = 5000, EACH_MS = 50;
  const focused = () => {
    const part = document.querySelector("[data-part=start]");
    if (!part?.checkVisibility()) return false;
    const button = part.querySelector("[data-start]:not(:disabled)");
    (button ?? part).focus({focusVisible: true});
    return true;
  };

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-skip]")) return;
    event.preventDefault();
    window.pageTurn("train");
    const until = Date.now() + PATIENCE_MS;
    const waiting = setInterval(() => { if (focused() || Date.now() > until) clearInterval(waiting); }, EACH_MS);
  });
})();
