// Ten thousand tunnels, in pages as the relay gives them.
{
  const ask = window.fetch;
  const tunnel = (n) => {
    const name = `t${String(n).padStart(4, "0")}`;
    return {
      id: `ann.${name}`, name, owner: "ann", state: "live", kind: "http", public: [`http://${name}.example/`],
      clients: [{ standing: "live", healthy: true, sessions: [1] }], requests: n + Math.floor(performance.now()),
      by_status: {}, by_outcome: {}, faults: {}, errors: 0, in_flight: 1, bytes_in: 5, bytes_out: 7,
      average_latency_seconds: 0.01, last_status: 200,
    };
  };
  window.fetch = async (url, options) => {
    if (String(url).startsWith("/api/v1/events")) return new Response("", { status: 503 });
    if (!String(url).startsWith("/api/v1/tunnels?")) return ask(url, options);
    const from = Number(new URL(url, location.href).searchParams.get("cursor") ?? 0);
    const items = Array.from({ length: 1000 }, (_, n) => tunnel(from + n));
    return Response.json({ items, next: from < 9000 ? String(from + 1000) : null });
  };
}
