/* A click counts although what was pressed was drawn again before the button of the mouse was let go.

   The page replaces tables and cards whenever there is news. Then press and release are on two elements, and a browser
   speaks of a click on none of them. The one that took the place of the pressed one, told by its data-* attributes, is
   clicked here. Touch needs nothing: its click goes to what is there at the end. */
(() => {
  "use strict";
  const buttonAt = (event) => event.target.closest?.("button");
  const told = (element) => JSON.stringify(Object.entries(element.dataset).sort());
  let pressed = null;

  document.addEventListener("pointerdown", (event) => {
    pressed = event.pointerType === "mouse" && event.button === 0 ? buttonAt(event) : null;
  }, true);
  document.addEventListener("pointerup", (event) => {
    const [was, now] = [pressed, buttonAt(event)];
    pressed = null;
    if (was && now && !was.isConnected && told(was) !== "[]" && told(was) === told(now)) now.click();
  }, true);

  // A person has turned to a tab, which one is known by its `select` event (page.py).
  document.addEventListener("click", (event) => {
    if (event.isTrusted && event.target.closest?.("[role=tab]")) window.tabClicked ??= "";
  }, true);
})();
