// From the top to the bottom in a hundred steps, each of them painted.
(async () => {
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  performance.clearMeasures();
  const took = [];
  for (let step = 0; step <= 100; step += 1) {
    const begin = performance.now();
    scrollTo(0, ((document.documentElement.scrollHeight - innerHeight) * step) / 100);
    await painted();
    took.push(performance.now() - begin);
  }
  await painted();
  took.sort((a, b) => a - b);
  const drawn = performance.getEntriesByName("board:rows").map((one) => one.duration).sort((a, b) => a - b);
  const ms = (list, part) => Number(list[Math.floor((list.length - 1) * part)].toFixed(1));
  const names = [...document.querySelectorAll(".rows .row-name")].map((one) => one.textContent).sort();
  return {
    rows: names.length, last: names[names.length - 1],
    rows_ms: { median: ms(drawn, 0.5), p95: ms(drawn, 0.95), longest: ms(drawn, 1) },
    frames_ms: { median: ms(took, 0.5), p95: ms(took, 0.95), longest: ms(took, 1) },
  };
})()
