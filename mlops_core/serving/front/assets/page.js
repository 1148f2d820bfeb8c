// Sends a file to the server and shows the answer. Every text becomes a text node.
(() => {
  const form = document.querySelector("#try-form");
  const result = document.querySelector("#try-result");
  const types = JSON.parse(form.dataset.types);
  const shown = 200;
  const cells = (row, tag, texts) => {
    for (const text of texts) row.append(Object.assign(document.createElement(tag), { textContent: text }));
    return row;
  };
  const message = (text, isBad) => {
    const paragraph = document.createElement("p");
    paragraph.className = isBad ? "message" : "muted";
    paragraph.textContent = text;
    result.replaceChildren(paragraph);
  };
  const digits = (value) => (value === null ? "not a number" : Number(value.toPrecision(6)).toString());
  const rows = (prediction) => {
    if (!Array.isArray(prediction.scores)) {
      const best = Object.entries(prediction.scores).sort((one, other) => other[1] - one[1]);
      return best.map(([name, score]) => [prediction.sample ?? "", name, digits(score)]);
    }
    const interval = prediction.interval;
    const range = interval ? `${digits(interval.low)} to ${digits(interval.high)} (${interval.level * 100}%)` : "";
    return [[prediction.sample ?? "", prediction.scores.map(digits).join(" "), range]];
  };
  const show = (predictions, duration) => {
    const isClassification = predictions.length > 0 && !Array.isArray(predictions[0].scores);
    const table = document.createElement("table");
    table.className = "answer";
    const heading = isClassification ? ["Sample", "Class", "Score"] : ["Sample", "Value", "Interval"];
    const lines = predictions.flatMap(rows);
    const hasSamples = lines.some(([sample]) => sample !== "");
    const cut = (texts) => (hasSamples ? texts : texts.slice(1));
    table.createTHead().append(cells(document.createElement("tr"), "th", cut(heading)));
    const body = table.createTBody();
    for (const line of lines.slice(0, shown)) body.append(cells(document.createElement("tr"), "td", cut(line)));
    const note = document.createElement("p");
    note.className = "muted small";
    const rest = lines.length > shown ? ` The first ${shown} of ${lines.length} lines are shown.` : "";
    note.textContent = `Answered in ${Math.round(duration)} ms.${rest}`;
    result.replaceChildren(table, note);
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    if (!file) return message("Choose a file first.", true);
    const suffix = file.name.slice(file.name.lastIndexOf(".")).toLowerCase();
    const type = types[suffix] ?? Object.values(types)[0];
    message("Predicting…", false);
    const begun = performance.now();
    try {
      const response = await fetch("invocations", {
        method: "POST",
        headers: { "Content-Type": type, Accept: "application/json" },
        body: file,
      });
      const answer = await response.json();
      if (response.ok) show(answer.predictions, performance.now() - begun);
      else message(`${response.status}: ${answer.error}`, true);
    } catch (error) {
      message(`The server cannot be reached: ${error.message}`, true);
    }
  });
})();
