// Comforts only: every page works without this file.
"use strict";
(() => {
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  if (stored()) root.dataset.theme = stored();

  const toggle = () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a file: page may not */ }
  };

  // An exported file links to parts inside closed sections: open them on the way.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView({ block: "center" });
  };

  // The list is fetched again as a whole page, and only its table is exchanged.
  const refresh = async (address, quiet) => {
    const list = document.getElementById("list");
    if (!list) return;
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("list");
      if (fresh && !(quiet && list.contains(document.activeElement))) list.replaceWith(fresh);
    } catch { /* the server is restarting; the next round tries again */ }
  };

  const start = () => {
    document.getElementById("theme")?.addEventListener("click", toggle);
    const filter = document.getElementById("filter");
    let timer = 0;
    filter?.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        const address = "/?" + new URLSearchParams(new FormData(filter)).toString();
        history.replaceState(null, "", address);
        refresh(address, false);
      }, 200);
    });
    const live = document.querySelector("[data-live]");
    if (live) setInterval(() => { if (!document.hidden) refresh(location.href, true); }, live.dataset.live * 1000);
    const comment = document.getElementById("comment");
    document.addEventListener("keydown", (event) => {
      const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/") { document.querySelector("input[type=search]")?.focus(); event.preventDefault(); }
      if (event.key === "t") toggle();
      if (event.key === "c" && comment) { comment.focus(); event.preventDefault(); }
      if (event.key === "[") document.querySelector("a[rel=prev]")?.click();
      if (event.key === "]") document.querySelector("a[rel=next]")?.click();
    });
    addEventListener("hashchange", reveal);
    if (location.hash) reveal();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
