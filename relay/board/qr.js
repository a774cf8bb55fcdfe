// QR codes (ISO/IEC 18004) of addresses: bytes, level M, versions 1 to 10, which hold 213 bytes.

import { svg } from "./dom.js";

// Of each version: code words for correction in a block, and how many blocks have how many code words
// of data.
const BLOCKS = [
  [10, [[1, 16]]], [16, [[1, 28]]], [26, [[1, 44]]], [18, [[2, 32]]], [24, [[2, 43]]],
  [16, [[4, 27]]], [18, [[4, 31]]], [22, [[2, 38], [2, 39]]], [22, [[3, 36], [2, 37]]], [26, [[4, 43], [1, 44]]],
];
const ALIGNED = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];
const QUIET = 4;

const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(y / 2) + Math.floor(x / 3)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

// Powers and logarithms in the field of 256 elements.
const [POWER, LOG] = (() => {
  const power = new Uint8Array(255);
  const log = new Uint8Array(256);
  let value = 1;
  for (let at = 0; at < 255; at += 1) {
    power[at] = value;
    log[value] = at;
    value = value < 128 ? value * 2 : (value * 2) ^ 0x11d;
  }
  return [power, log];
})();

const times = (a, b) => (a && b ? POWER[(LOG[a] + LOG[b]) % 255] : 0);

/** The picture of a text, or `null` if it is too long for one. */
export function qr(text) {
  const rows = matrix(new TextEncoder().encode(text));
  if (!rows) return null;
  const size = rows.length + 2 * QUIET;
  let path = "";
  rows.forEach((row, y) => row.forEach((dark, x) => {
    if (dark) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
  }));
  return svg("svg", { class: "qr", viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `QR code of ${text}` },
    svg("path", { class: "qr-light", d: `M0 0h${size}v${size}H0z` }), svg("path", { class: "qr-dark", d: path }));
}

/** Rows of modules, of which `true` are dark. */
export function matrix(bytes) {
  const data = (version) => BLOCKS[version - 1][1].reduce((all, [count, words]) => all + count * words, 0);
  const head = (version) => (version < 10 ? 12 : 20);
  const version = BLOCKS.findIndex((_, at) => head(at + 1) + bytes.length * 8 <= data(at + 1) * 8) + 1;
  if (version === 0) return null;
  const words = corrected(version, codeWords(bytes, data(version), head(version) - 4));
  let best = null;
  MASKS.forEach((mask, number) => {
    const rows = draw(version, words, mask, number);
    const cost = penalty(rows);
    if (!best || cost < best.cost) best = { rows, cost };
  });
  return best.rows;
}

function codeWords(bytes, room, lengthBits) {
  const bits = [];
  const push = (value, count) => {
    for (let at = count - 1; at >= 0; at -= 1) bits.push((value >> at) & 1);
  };
  push(4, 4);
  push(bytes.length, lengthBits);
  bytes.forEach((byte) => push(byte, 8));
  push(0, Math.min(4, room * 8 - bits.length));
  while (bits.length % 8) bits.push(0);
  const words = [];
  for (let at = 0; at < bits.length; at += 8) words.push(parseInt(bits.slice(at, at + 8).join(""), 2));
  for (let pad = 0xec; words.length < room; pad ^= 0xec ^ 0x11) words.push(pad);
  return words;
}

/** All blocks with their correction, interleaved. */
function corrected(version, words) {
  const [count, kinds] = BLOCKS[version - 1];
  const divisor = generator(count);
  const blocks = [];
  let at = 0;
  for (const [number, length] of kinds) {
    for (let block = 0; block < number; block += 1) {
      const data = words.slice(at, at + length);
      at += length;
      blocks.push({ data, extra: remainder(data, divisor) });
    }
  }
  const out = [];
  const longest = Math.max(...blocks.map(({ data }) => data.length));
  for (let i = 0; i < longest; i += 1) for (const { data } of blocks) if (i < data.length) out.push(data[i]);
  for (let i = 0; i < count; i += 1) for (const { extra } of blocks) out.push(extra[i]);
  return out;
}

function generator(degree) {
  let poly = [1];
  for (let at = 0; at < degree; at += 1) {
    const next = [...poly, 0];
    poly.forEach((factor, i) => {
      next[i + 1] ^= times(factor, POWER[at]);
    });
    poly = next;
  }
  return poly.slice(1);
}

function remainder(data, divisor) {
  const rest = new Array(divisor.length).fill(0);
  for (const byte of data) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    divisor.forEach((value, i) => {
      rest[i] ^= times(value, factor);
    });
  }
  return rest;
}

function draw(version, words, mask, number) {
  const size = version * 4 + 17;
  const rows = Array.from({ length: size }, () => new Array(size).fill(false));
  const fixed = Array.from({ length: size }, () => new Array(size).fill(false));
  const put = (x, y, dark) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    rows[y][x] = dark;
    fixed[y][x] = true;
  };
  for (let i = 0; i < size; i += 1) {
    put(6, i, i % 2 === 0);
    put(i, 6, i % 2 === 0);
  }
  for (const [left, top] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    for (let y = -4; y <= 4; y += 1) {
      for (let x = -4; x <= 4; x += 1) {
        const ring = Math.max(Math.abs(x), Math.abs(y));
        put(left + x, top + y, ring !== 2 && ring !== 4);
      }
    }
  }
  const centres = ALIGNED[version - 1];
  const last = centres[centres.length - 1];
  for (const cy of centres) {
    for (const cx of centres) {
      if ((cx === 6 && cy === 6) || (cx === 6 && cy === last) || (cx === last && cy === 6)) continue;
      for (let y = -2; y <= 2; y += 1) {
        for (let x = -2; x <= 2; x += 1) put(cx + x, cy + y, Math.max(Math.abs(x), Math.abs(y)) !== 1);
      }
    }
  }
  // Level M is 0, so that the format is the mask alone.
  const format = ((number << 10) | over(number, 0x537, 10)) ^ 0x5412;
  const bit = (value, at) => ((value >> at) & 1) === 1;
  for (let i = 0; i < 15; i += 1) {
    put(8, i < 6 ? i : i < 8 ? i + 1 : size - 15 + i, bit(format, i));
    put(i < 8 ? size - 1 - i : i === 8 ? 7 : 14 - i, 8, bit(format, i));
  }
  put(8, size - 8, true);
  if (version >= 7) {
    const said = (version << 12) | over(version, 0x1f25, 12);
    for (let i = 0; i < 18; i += 1) {
      const [a, b] = [size - 11 + (i % 3), Math.floor(i / 3)];
      put(a, b, bit(said, i));
      put(b, a, bit(said, i));
    }
  }
  let at = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step += 1) {
      const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x]) continue;
        const dark = at < words.length * 8 && bit(words[at >> 3], 7 - (at & 7));
        rows[y][x] = dark !== mask(x, y);
        at += 1;
      }
    }
  }
  return rows;
}

/** What is left of a number divided by a polynomial of this degree. */
function over(value, poly, degree) {
  let rest = value;
  for (let i = 0; i < degree; i += 1) rest = (rest << 1) ^ ((rest >> (degree - 1)) * poly);
  return rest;
}

/** How hard it would be to read. */
function penalty(rows) {
  const size = rows.length;
  let cost = 0;
  let dark = 0;
  const turned = rows.map((_, x) => rows.map((row) => row[x]));
  for (const row of [...rows, ...turned]) {
    let run = 1;
    for (let i = 1; i <= size; i += 1) {
      if (i < size && row[i] === row[i - 1]) {
        run += 1;
        continue;
      }
      if (run >= 5) cost += run - 2;
      run = 1;
    }
    const text = row.map(Number).join("");
    for (const shape of ["10111010000", "00001011101"]) {
      for (let i = text.indexOf(shape); i >= 0; i = text.indexOf(shape, i + 1)) cost += 40;
    }
  }
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      if (rows[y][x]) dark += 1;
      if (x && y && rows[y][x] === rows[y - 1][x] && rows[y][x] === rows[y][x - 1] && rows[y][x] === rows[y - 1][x - 1]) cost += 3;
    }
  }
  return cost + 10 * Math.floor(Math.abs((dark * 20) / (size * size) - 10));
}
