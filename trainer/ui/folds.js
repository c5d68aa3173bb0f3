/* A fold that a person opened or closed stays so although it is drawn again.

   The page replaces what a component shows whenever there is news, and a new <details> is as the server drew it. Which
   one it is is told by its component and by the first words of its summary: what follows them may be a count or a size. */
(() => {
  "use strict";
  const chosen = new Map();
  const told = (fold) => {
    const summary = fold.querySelector(":scope > summary");
    return JSON.stringify([fold.parentElement?.closest("[id]")?.id, summary?.firstChild?.textContent]);
  };

  document.addEventListener("click", (event) => {
    const summary = event.target.closest?.("summary");
    if (event.isTrusted && summary) chosen.set(told(summary.parentElement), !summary.parentElement.open);
  }, true);

  new MutationObserver((changes) => {
    if (!chosen.size) return;
    for (const { addedNodes } of changes) {
      for (const node of addedNodes) {
        if (node.nodeType !== Node.ELEMENT_NODE) continue;
        for (const fold of [node, ...node.querySelectorAll("details")]) {
          const open = fold.localName === "details" ? chosen.get(told(fold)) : undefined;
          if (open !== undefined) fold.open = open;
        }
      }
    }
  }).observe(document, { childList: true, subtree: true });
})();
