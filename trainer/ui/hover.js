/* The value of every chart at the step under the pointer.

   Charts are drawn by trainer/show/charts.py with hover=True: .g-card carries data-first, data-last (steps of the axis) and
   data-step (the word), entries of its legend the values of their lines as data-points="step:value|step:value ...", and
   .g-card itself those of a pile as a whole. A line through .g-plot is drawn in all charts of Live, elsewhere of the
   .g-board the pointer is in. The page replaces charts at any moment: nothing is kept but where the pointer was, and what
   was read of a text of points. */
(() => {
  "use strict";
  let pointer = null; // {x, y} in the window while a chart is pointed at
  const read = new Map(); // text of points -> [[step, value], ...]; emptied when it grows

  const pointsOf = (element) => {
    const text = element.dataset.points;
    if (!text) return [];
    let points = read.get(text);
    if (!points) {
      if (read.size > 400) read.clear();
      points = text.split("|").map((pair) => {
        const colon = pair.indexOf(":");
        return [Number(pair.slice(0, colon)), pair.slice(colon + 1)];
      });
      read.set(text, points);
    }
    return points;
  };

  const nearest = (points, step) => {
    let low = 0;
    let high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < step) low = middle + 1;
      else high = middle;
    }
    const before = points[low - 1];
    return before && step - before[0] <= points[low][0] - step ? before : points[low];
  };

  const made = (tag, kind, text) => {
    const element = document.createElement(tag);
    element.className = kind;
    element.textContent = text || "";
    return element;
  };

  const clear = () => {
    document.querySelectorAll(".g-at, .g-cursor, .g-tip").forEach((element) => element.remove());
    document.querySelectorAll(".g-asked").forEach((card) => card.classList.remove("g-asked", "g-hovered"));
  };

  const share = (card, step) => {
    const first = Number(card.dataset.first);
    const last = Number(card.dataset.last);
    return last > first ? (step - first) / (last - first) : 0;
  };

  const put = (card, step, pointed) => {
    card.classList.add("g-asked"); // also one that has no value there: it is not asked again before the pointer moves
    const lines = [...card.querySelectorAll(".g-legend [data-points]")].filter((line) => line.dataset.points);
    const main = card.dataset.points ? card : lines[0];
    if (!main || step < Number(card.dataset.first) || step > Number(card.dataset.last)) return;
    const [at, value] = nearest(pointsOf(main), step);
    const plot = card.querySelector(".g-plot");
    const place = share(card, at);
    const cursor = made("i", "g-cursor");
    cursor.style.left = `${100 * place}%`;
    plot.append(cursor);
    const told = made("b", "g-at", `${value} `);
    told.append(made("small", "", `${card.dataset.step} ${at.toLocaleString("en")}`));
    card.querySelector(".g-chart-head").append(told);
    card.classList.add("g-hovered");
    if (!pointed || lines.length < 2) return;
    const tip = made("div", "g-tip");
    for (const line of lines) {
      const row = made("div", "");
      row.append(made("span", "", line.textContent), made("b", "", nearest(pointsOf(line), at)[1]));
      tip.append(row);
    }
    tip.style[place > 0.5 ? "right" : "left"] = `calc(${100 * (place > 0.5 ? 1 - place : place)}% + 8px)`;
    plot.append(tip);
  };

  const boardOf = (plot) => plot.closest(".g-live") || plot.closest(".g-board") || plot.closest(".g-card").parentElement;

  const show = (plot) => {
    clear();
    const card = plot.closest(".g-card");
    const box = plot.getBoundingClientRect();
    const inside = box.width ? Math.min(1, Math.max(0, (pointer.x - box.left) / box.width)) : 0;
    const first = Number(card.dataset.first);
    const step = first + inside * (Number(card.dataset.last) - first);
    boardOf(plot).querySelectorAll(".g-card[data-first]").forEach((each) => put(each, step, each === card));
  };

  const plotUnder = (target) => {
    const plot = target && target.closest ? target.closest(".g-plot") : null;
    return plot && plot.closest(".g-card[data-first]") ? plot : null;
  };

  const leave = () => {
    if (!pointer) return;
    pointer = null;
    clear();
  };

  const follow = (event) => {
    const plot = plotUnder(event.target);
    if (!plot) return leave();
    pointer = { x: event.clientX, y: event.clientY };
    show(plot);
  };

  // A finger that lets go leaves the values where they are; a tap elsewhere takes them away.
  document.addEventListener("pointerdown", follow);
  document.addEventListener("pointermove", follow);
  document.addEventListener("pointercancel", leave);
  document.addEventListener("scroll", leave, { passive: true });
  document.documentElement.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") leave();
  });

  // New charts have come under a pointer that rests: they show its step as well.
  let waiting = false;
  const renew = () => {
    waiting = false;
    if (!pointer) return;
    const plot = plotUnder(document.elementFromPoint(pointer.x, pointer.y));
    if (plot && boardOf(plot).querySelector(".g-card[data-first]:not(.g-asked)")) show(plot);
  };
  new MutationObserver(() => {
    if (!pointer || waiting) return;
    waiting = true;
    requestAnimationFrame(renew);
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
