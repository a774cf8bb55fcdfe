// A relay that can do more, and what it is asked for.
{
  const ask = window.fetch;
  window.called = [];
  window.fetch = async (url, options) => {
    const method = options?.method ?? "GET";
    if (String(url).endsWith("/openapi.json")) {
      const document = await (await ask(url, options)).json();
      document.paths["/tunnels/{tunnel}"].delete = {};
      document.paths["/tunnels/{tunnel}/pause"] = { post: {} };
      document.paths["/sessions/{session}"].delete = {};
      return Response.json(document);
    }
    if (method === "GET") return ask(url, options);
    window.called.push(`${method} ${url}`);
    return new Response(null, { status: 204 });
  };
}
