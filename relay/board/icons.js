// The board's own pictures, drawn with lines of one width on 20 by 20.

import { svg } from "./dom.js";

const LINES = {
  overview: "M3 11a7 7 0 0 1 14 0v4H3zM10 11l3-4",
  tunnels: "M3 16V9a7 7 0 0 1 14 0v7M7 16V9.500a3 3 0 0 1 6 0V16M2 16h16",
  sessions: "M3 4h14v9H3zM7 17h6M10 13v4",
  tokens: "M7 13a4 4 0 1 1 3.500-6H18v3h-2v3h-3v-3h-2.500A4 4 0 0 1 7 13zM6.500 9h.01",
  users: "M10 9.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 17c0-3.500 2.500-5 6-5s6 1.500 6 5",
  domains: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM3 10h14M10 3c4 4 4 10 0 14M10 3c-4 4-4 10 0 14",
  certificates: "M4 3h9l3 3v6H4zM7 7h5M12 12.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5z",
  bans: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM5 5l10 10",
  copy: "M7 7h9v9H7zM4 13V4h9",
  done: "M4 10.500l4 4 8-9",
  qr: "M3 3h5v5H3zM12 3h5v5h-5zM3 12h5v5H3zM12 12h2v2h-2zM15.500 15.500H17V17h-1.500z",
  open: "M11 4h5v5M16 4l-7 7M14 12v4H4V6h4",
  light: "M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.400 4.400l1 1M14.600 14.600l1 1M4.400 15.600l1-1M14.600 5.400l1-1",
  dark: "M16 12.500A7 7 0 0 1 7.500 4a6.500 6.500 0 1 0 8.500 8.500z",
  system: "M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14",
  warn: "M10 3l8 14H2zM10 8v4M10 14.500v.01",
  close: "M5 5l10 10M15 5L5 15",
  keys: "M2 5h16v10H2zM5 8h.01M8 8h.01M11 8h.01M14 8h.01M6 12h8",
  leave: "M8 4H4v12h4M8 10h9M13 6l4 4-4 4",
  plus: "M10 4v12M4 10h12",
};

export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: LINES[name] }));
}
