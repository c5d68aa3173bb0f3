// The choice of light or dark outlives a reload; without one it is the system's (Gradio's own rule).
document.addEventListener("DOMContentLoaded", () => {
    const chosen = localStorage.getItem("theme");
    if (chosen) document.body.classList.toggle("dark", chosen === "dark");
});
