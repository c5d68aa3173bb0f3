// Tells through the browser of runs that ended and of their alerts, once a person has asked for it (the button on Live).
// The page says at each look how the runs are (page.py, `news`): {run: [state, sentence, alerts, newest alert]}.
(() => {
    const GOING = ["starting", "running", "stopping"];
    const ENDED = ["finished", "failed", "stopped", "paused", "lost"];
    const CHOICE = "notify";
    let known = null;

    function state() {
        if (!("Notification" in window) || !window.isSecureContext || Notification.permission === "denied") return "never";
        return Notification.permission === "granted" && localStorage.getItem(CHOICE) === "on" ? "on" : "off";
    }

    function show() {
        document.documentElement.dataset.notify = state();
    }

    document.addEventListener("click", async (event) => {
        if (!event.target.closest(".g-notify")) return;
        const on = state() === "on";
        if (!on && "Notification" in window && window.isSecureContext) await Notification.requestPermission();
        localStorage.setItem(CHOICE, on ? "off" : "on");
        show();
    });

    // Of several pages in one browser the last one counts: the same tag replaces.
    function tell(text, tag) {
        new Notification(document.title, { body: text, tag });
    }

    window.pageNews = (text) => {
        const news = JSON.parse(text || "{}");
        for (const [run, [now, said, alerts, alert]] of Object.entries(known && state() === "on" ? news : {})) {
            const before = known[run];
            if (!before) continue;
            if (GOING.includes(before[0]) && ENDED.includes(now)) tell(said, `${run} ended`);
            else if (alerts > before[2]) tell(alert, `${run} alert ${alerts}`);
        }
        known = news;
    };
    show();
})();
