"use strict";
// Brings pages up to date. Every page is complete without it. Parts of pages come from the server, which escapes them.
(() => {
  const announce = (text) => {
    const place = document.getElementById("announcement");
    if (place && place.textContent !== text) place.textContent = text;
  };
  const changed = (root) => root.dispatchEvent(new CustomEvent("content", { bubbles: true }));

  // Replace the content of an element, but leave what the reader has opened, marked, focused or scrolled as it is.
  const replace = (place, html) => {
    const opened = [...place.querySelectorAll("details")].map((each) => each.open);
    const marked = new Set([...place.querySelectorAll("input:checked")].map((each) => each.value));
    const focused = place.contains(document.activeElement) ? document.activeElement : null;
    const same = focused?.id ? `#${CSS.escape(focused.id)}` : focused?.value ? `[value="${CSS.escape(focused.value)}"]` : focused?.getAttribute?.("href") ? `[href="${CSS.escape(focused.getAttribute("href"))}"]` : "";
    const logs = [...place.querySelectorAll("pre")].map((each) => each.scrollTop + each.clientHeight >= each.scrollHeight - 4 ? -1 : each.scrollTop);
    place.innerHTML = html;
    [...place.querySelectorAll("details")].forEach((each, index) => { if (opened[index]) each.open = true; });
    for (const box of place.querySelectorAll("input[type=checkbox]")) box.checked = marked.has(box.value);
    [...place.querySelectorAll("pre")].forEach((each, index) => { each.scrollTop = logs[index] === undefined || logs[index] < 0 ? each.scrollHeight : logs[index]; });
    if (same) place.querySelector(same)?.focus({ preventScroll: true });
    changed(place);
  };

  // Parts that take a moment are fetched when the page is shown.
  const load = async (place) => {
    try {
      const answer = await fetch(place.dataset.load, { headers: { Accept: "text/html" } });
      const text = await answer.text();
      if (answer.ok) {
        replace(place, text);
      } else {
        place.textContent = `Not available: the server answered ${answer.status}. Reload the page.`;
      }
    } catch {
      place.textContent = "Not available: the server does not answer. Reload the page.";
    }
    place.removeAttribute("aria-busy");
  };
  const loadAll = (root) => {
    for (const place of root.querySelectorAll("[data-load]:not([data-begun])")) {
      place.dataset.begun = "yes";
      void load(place);
    }
  };
  loadAll(document);
  document.addEventListener("content", (event) => loadAll(event.target));

  // Runs that are marked for a comparison.
  const most = 20;
  const count = () => {
    const button = document.getElementById("compare-button");
    if (!button) return;
    const marked = document.querySelectorAll("#compare-form input[name=run]:checked").length;
    button.disabled = marked < 2 || marked > most;
    button.textContent = marked > 1 ? `Compare ${marked} runs` : "Compare";
    document.getElementById("compare-hint").textContent =
      marked > most ? `At most ${most} runs can be compared.` : marked < 2 ? "Mark two to twenty runs to compare them." : "";
  };
  document.addEventListener("change", (event) => { if (event.target.name === "run") count(); });
  document.addEventListener("content", count);
  addEventListener("pageshow", count);
  count();

  for (const log of document.querySelectorAll("pre.log")) log.scrollTop = log.scrollHeight;

  // Live: one connection while the page is visible, since a browser opens only a few to one server.
  const path = document.body.dataset.events;
  if (!path) return;
  let source = null;
  const refresh = async () => {
    const place = document.getElementById("runs-table");
    if (!place) return;
    const query = new URLSearchParams(location.search);
    query.set("part", "table");
    try {
      const answer = await fetch(`${location.pathname}?${query}`);
      if (answer.ok) replace(place, await answer.text());
    } catch {
      announce("The server does not answer.");
    }
  };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(path);
    source.addEventListener("changed", refresh);
    source.addEventListener("reload", () => location.reload());
    source.addEventListener("parts", (event) => {
      for (const [name, html] of Object.entries(JSON.parse(event.data))) {
        if (name === "announcement") announce(html);
        const place = document.getElementById(`live-${name}`);
        if (place) replace(place, html);
      }
    });
    source.addEventListener("error", () => document.documentElement.classList.add("offline"));
    source.addEventListener("open", () => document.documentElement.classList.remove("offline"));
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else {
      open();
      void refresh();
    }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
