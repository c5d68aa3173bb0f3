// The grey frame (opening.py) in the theme that was chosen. The page takes it away with its first news (page.py); a page
// that never tells any is shown as it is.
(() => {
  "use strict";
  const PATIENCE_MS = 20000;
  const frame = document.getElementById("g-opening");
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // Without storage: the system's.
  }
  const isDark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  frame.classList.toggle("g-open-dark", isDark);
  setTimeout(() => frame.remove(), PATIENCE_MS);
})();
