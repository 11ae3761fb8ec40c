// Every swept field against every metric.
const data = JSON.parse($("data").textContent);

data.fields.forEach((field, f) => {
  for (const metric of data.metrics) {
    const points = [];
    metric.values.forEach((members, s) => members.forEach((value, seed) => value !== null && points.push(
      {x: field.at[s], y: value, name: `${data.settings[s]}, seed ${seed}`})));
    if (!points.length) continue;
    const lines = field.lines[metric.name] || [];
    scatter($(`plots-${f}`), {title: metric.title, horizontal: field.name, vertical: metric.title, points, lines, named: field.named});
  }
});
