// A relay all of whose texts are somebody's who means no good.
{
  const ask = window.fetch;
  // What the board decides by has to stay what it is.
  const KEPT = new Set(["state", "kind", "standing", "status", "scopes", "next", "code", "type"]);
  const spoil = (value, name) => {
    if (KEPT.has(name)) return value;
    if (typeof value === "string") return ["public", "address"].includes(name) ? ONE : ALL;
    if (Array.isArray(value)) return value.map((one) => spoil(one, name));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [
      ["by_status", "by_outcome", "faults"].includes(name) ? ALL : key, spoil(one, key),
    ]));
  };
  window.fetch = async (url, options) => {
    const answer = await ask(url, options);
    if (!/\/api\/v1\/(tunnels|sessions|tokens|users|domains|certificates|bans|health)/.test(url)) return answer;
    const body = spoil(await answer.json(), "");
    return Response.json(body, { status: answer.status });
  };
}
