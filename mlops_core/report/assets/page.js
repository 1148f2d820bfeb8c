"use strict";
// The page can be read without this: it marks the section in view, reads values from the curves, and lets one sound
// play at a time.
(() => {
  const links = new Map(
    [...document.querySelectorAll(".contents li a")].map((link) => [link.hash.slice(1), link]),
  );
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-10% 0px -70% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);

  const sounds = [...document.querySelectorAll("audio")];
  for (const sound of sounds) {
    sound.addEventListener("play", () => sounds.forEach((other) => other !== sound && other.pause()));
  }

  const number = (value) => (Number.isInteger(value) ? String(value) : value.toPrecision(4));
  const nearest = (points, x) =>
    points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));

  for (const chart of document.querySelectorAll(".curve-chart")) {
    const { x: label, range, plot, series } = JSON.parse(chart.dataset.curves);
    const cursor = chart.querySelector(".cursor");
    const readout = chart.parentElement.querySelector(".readout");
    const atRest = readout.textContent;
    const places = [...new Set(series.flatMap((one) => one.points.map((point) => point[0])))].sort((a, b) => a - b);
    let at = places.length - 1;

    const show = (index) => {
      at = Math.min(places.length - 1, Math.max(0, index));
      const x = plot[0] + ((places[at] - range[0]) / (range[1] - range[0])) * (plot[1] - plot[0]);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.setAttribute("visibility", "visible");
      const values = series.map((one) => `${one.name.replaceAll("_", " ")} ${number(nearest(one.points, places[at])[1])}`);
      readout.textContent = `${label} ${number(places[at])}: ${values.join(", ")}`;
    };
    const hide = () => {
      cursor.setAttribute("visibility", "hidden");
      readout.textContent = atRest;
    };
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const inside = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      const value = range[0] + ((inside - plot[0]) / (plot[1] - plot[0])) * (range[1] - range[0]);
      show(places.reduce((best, place, index) => (Math.abs(place - value) < Math.abs(places[best] - value) ? index : best), 0));
    });
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (!move) return;
      event.preventDefault();
      show(at + move);
    });
  }
})();
