"use strict";
// The page is complete without this script, which marks the section in view, folds long sections on a phone, says where a
// table is cut, shows the values of curves at the pointer, and pauses a sound when another one starts. What is added to the
// page later announces itself by the event "content".
(() => {
  const links = new Map(
    [...document.querySelectorAll(".contents li a")].map((link) => [link.hash.slice(1), link]),
  );
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-10% 0px -70% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) observer.observe(section);

  // On a phone, a section that is longer than the screen starts folded, except the first, which says what happened.
  const unfold = (section) => {
    section?.classList.remove("folded");
    section?.querySelector(".fold")?.setAttribute("aria-expanded", "true");
  };
  if (matchMedia("(max-width: 720px)").matches) {
    for (const section of [...document.querySelectorAll("main > section")].slice(1)) {
      if (section.offsetHeight <= innerHeight || `#${section.id}` === location.hash) continue;
      const heading = section.querySelector("h2");
      if (!heading || heading.classList.contains("hidden")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "fold";
      button.append(...heading.childNodes);
      heading.append(button);
      section.classList.add("folded");
      button.setAttribute("aria-expanded", "false");
      button.addEventListener("click", () => {
        button.setAttribute("aria-expanded", String(!section.classList.toggle("folded")));
      });
    }
    for (const [id, link] of links) link.addEventListener("click", () => unfold(document.getElementById(id)));
  }

  document.addEventListener(
    "play",
    (event) => document.querySelectorAll("audio").forEach((other) => other !== event.target && other.pause()),
    true,
  );

  const number = (value) => String(Number.isInteger(value) ? value : Number(value.toPrecision(4)));
  const nearest = (points, x) =>
    points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));

  const enliven = (root) => {
    for (const region of root.querySelectorAll(".scroll")) {
      new ResizeObserver(() => {
        region.parentElement.classList.toggle("is-cut", region.scrollWidth > region.clientWidth + 1);
      }).observe(region);
    }
    for (const chart of root.querySelectorAll(".curve-chart")) readable(chart);
  };
  document.addEventListener("content", (event) => enliven(event.target));

  const readable = (chart) => {
    const { x: label, range, plot, series } = JSON.parse(chart.dataset.curves);
    const cursor = chart.querySelector(".cursor");
    const readout = chart.parentElement.querySelector(".readout");
    const finalValues = readout.textContent;
    const positions = [...new Set(series.flatMap((curve) => curve.points.map((point) => point[0])))].sort((a, b) => a - b);
    let current = positions.length - 1;

    const show = (index) => {
      current = Math.min(positions.length - 1, Math.max(0, index));
      const x = plot[0] + ((positions[current] - range[0]) / (range[1] - range[0])) * (plot[1] - plot[0]);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.setAttribute("visibility", "visible");
      const values = series.map((curve) => `${curve.name} ${number(nearest(curve.points, positions[current])[1])}`);
      readout.textContent = `${label} ${number(positions[current])}: ${values.join(", ")}`;
    };
    const hide = () => {
      cursor.setAttribute("visibility", "hidden");
      readout.textContent = finalValues;
    };
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const inside = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      const value = range[0] + ((inside - plot[0]) / (plot[1] - plot[0])) * (range[1] - range[0]);
      show(positions.reduce((best, position, index) => (Math.abs(position - value) < Math.abs(positions[best] - value) ? index : best), 0));
    });
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (!move) return;
      event.preventDefault();
      show(current + move);
    });
  };

  enliven(document);
})();
