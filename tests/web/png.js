// Makes the PNG files of screenshots smaller, without loss.

import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = 8;
/** Length, type and checksum. */
const FRAME = 12;

/** The same picture in rows without filters, which suit flat colours, and compressed as far as can be. */
export function shrink(file) {
  const chunks = read(file);
  const header = chunks.find(({ type }) => type === "IHDR").data;
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const channels = { 2: 3, 6: 4 }[header[9]];
  if (header[8] !== 8 || !channels || header[12] !== 0) {
    return file;
  }
  const packed = Buffer.concat(chunks.filter(({ type }) => type === "IDAT").map(({ data }) => data));
  const rows = unfilter(inflateSync(packed), width * channels, height, channels);
  const data = deflateSync(rows, { level: 9, memLevel: 9 });
  const parts = [["IHDR", header], ["IDAT", data], ["IEND", Buffer.alloc(0)]];
  return Buffer.concat([file.subarray(0, SIGNATURE), ...parts.map(([type, data]) => chunk(type, data))]);
}

function read(file) {
  const chunks = [];
  for (let at = SIGNATURE; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const type = file.toString("latin1", at + 4, at + 8);
    chunks.push({ type, data: file.subarray(at + 8, at + 8 + length) });
    at += FRAME + length;
  }
  return chunks;
}

function chunk(type, data) {
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  const content = Buffer.concat([Buffer.from(type, "latin1"), data]);
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(content));
  return Buffer.concat([length, content, check]);
}

/** Undo the filters (PNG specification, section 9): each row is a 0 and its bytes. */
function unfilter(filtered, bytes, height, step) {
  const rows = Buffer.from(filtered);
  const line = bytes + 1;
  for (let y = 0; y < height; y += 1) {
    const start = y * line;
    const filter = rows[start];
    rows[start] = 0;
    for (let x = 1; x <= bytes; x += 1) {
      const left = x > step ? rows[start + x - step] : 0;
      const up = y > 0 ? rows[start + x - line] : 0;
      const corner = x > step && y > 0 ? rows[start + x - line - step] : 0;
      rows[start + x] += [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
    }
  }
  return rows;
}

function paeth(left, up, corner) {
  const distance = (value) => Math.abs(left + up - corner - value);
  const nearest = distance(left) <= distance(up) ? left : up;
  return distance(nearest) <= distance(corner) ? nearest : corner;
}
