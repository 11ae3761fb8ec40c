// Scores of two runs against one another, and a filter of the table by truth.
const data = JSON.parse($("data").textContent);

for (const [a, b] of data.pairs) {
  const points = data.names.map((name, i) => ({name, x: data.scores[a][i], y: data.scores[b][i],
    kind: `${data.truth && data.truth[i] !== null && data.truth[i] !== "good" ? "bad" : ""} ${data.differs[i] ? "differs" : ""}`}))
    .filter(p => p.x !== null && p.y !== null);
  if (points.length) scatter($("pairs"), {title: `${data.runs[b]} over ${data.runs[a]}`,
    horizontal: `score of ${data.runs[a]}`, vertical: `score of ${data.runs[b]}`, points});
}

$("truth")?.addEventListener("input", () => {
  for (const row of document.querySelectorAll("#table tbody tr")) {
    row.hidden = $("truth").value !== "" && row.dataset.truth !== $("truth").value;
  }
});
