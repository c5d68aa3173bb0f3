/* The tour (tour.py): a run was started from the first screen. Once closed it never comes back.

   Anything with data-turn turns to that tab, data-point then brings what it names into view. */
(() => {
  "use strict";
  const STORE = "tour", SOON_MS = 400, MARKED_MS = 2500;
  const stored = () => {
    try {
      return localStorage.getItem(STORE) || "";
    } catch {
      return "";
    }
  };
  const set = (state) => {
    try {
      localStorage.setItem(STORE, state);
    } catch {
      // Without storage it is there until the next reload.
    }
    document.documentElement.dataset.tour = state;
  };
  const point = (selector) => {
    const place = [...document.querySelectorAll(selector)].find((each) => each.checkVisibility());
    if (!place) return;
    place.scrollIntoView({block: "center", behavior: "smooth"});
    place.classList.add("g-pointed");
    setTimeout(() => place.classList.remove("g-pointed"), MARKED_MS);
  };

  window.tourBegins = () => {
    if (document.documentElement.dataset.tour !== "closed") set("open");
  };
  document.documentElement.dataset.tour = stored();
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-turn], [data-tour-close]");
    if (!button) return;
    if ("tourClose" in button.dataset) return set("closed");
    window.pageTurn(button.dataset.turn);
    if (button.dataset.point) setTimeout(point, SOON_MS, button.dataset.point);
  });
})();
