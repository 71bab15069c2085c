"use strict";
// One frame of the gallery: unpacked photons and mask, where its pixels are, rings of resolution.
(() => {
  const { spotmill } = window;
  const { gallery } = spotmill;
  const KEPT = 4; // decoded frames in memory

  const waiting = new Map();
  const decoded = new Map();

  spotmill.frame = (told) => waiting.get(told.file)?.(told);

  async function load(line) {
    if (!decoded.has(line.file)) {
      const told = await new Promise((resolve, reject) => {
        waiting.set(line.file, resolve);
        const script = document.createElement("script");
        script.src = gallery.folder + encodeURIComponent(line.file);
        script.onerror = () => reject(new Error(`${line.file} is not in the folder “gallery”`));
        script.onload = () => script.remove();
        document.head.append(script);
      });
      waiting.delete(line.file);
      decoded.set(line.file, await decode(told));
      if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
    }
    return decoded.get(line.file);
  }

  async function decode(told) {
    if (!("DecompressionStream" in window)) throw new Error("This browser is too old to unpack frames.");
    const [gaps, counts, runs] = await Promise.all([told.gaps, told.counts, told.mask].map(unpack));
    const [height, width] = told.shape;
    const photons = new Uint32Array(height * width), live = new Uint8Array(height * width);
    let place = -1, largest = 0;
    for (let i = 0; i < gaps.length; i++) {
      place += gaps[i] + 1;
      photons[place] = counts[i];
      if (counts[i] > largest) largest = counts[i];
    }
    for (let i = 0, start = 0; i < runs.length; start += runs[i], i++) {
      if (i % 2) live.fill(1, start, start + runs[i]);
    }
    const frame = { ...told, width, height, photons, live, largest };
    frame.rings = ringsOf(frame);
    return frame;
  }

  // Base64 of a zlib stream of LEB128 numbers.
  async function unpack(text) {
    const binary = atob(text), packed = new Uint8Array(binary.length);
    for (let i = 0; i < packed.length; i++) packed[i] = binary.charCodeAt(i);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const data = new Uint8Array(await new Response(stream).arrayBuffer());
    const values = new Uint32Array(data.reduce((n, byte) => n + (byte < 128), 0));
    let n = 0, value = 0, factor = 1;
    for (const byte of data) {
      value += (byte & 127) * factor;
      factor *= 128;
      if (byte < 128) { values[n++] = value; value = 0; factor = 1; }
    }
    return values;
  }

  // ------------------------------------------------------------- geometry

  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

  const twoTheta = (panel, fs, ss) => {
    const [x, y, z] = [0, 1, 2].map((k) => panel.corner[k] +
      (fs - panel.bounds[0]) * panel.fs[k] + (ss - panel.bounds[2]) * panel.ss[k]);
    return Math.atan2(Math.hypot(x, y), z);
  };

  const panelAt = (frame, fs, ss) => frame.panels.find(({ bounds: [left, right, top, bottom] }) =>
    fs >= left && fs < right + 1 && ss >= top && ss < bottom + 1);

  const NICE = [100, 50, 40, 30, 25, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.8, 2.6, 2.4, 2.2, 2,
    1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];

  // Rings of constant resolution, as lines in pixels of the data array, panel by panel.
  function ringsOf(frame) {
    const largest = Math.max(...frame.panels.flatMap((panel) => {
      const [left, right, top, bottom] = panel.bounds;
      return [[left, top], [right + 1, top], [left, bottom + 1], [right + 1, bottom + 1]]
        .map(([fs, ss]) => twoTheta(panel, fs, ss));
    }));
    const chosen = new Set([1, 2, 3, 4, 5].map((part) => {
      const d = frame.wavelength / (2 * Math.sin(0.92 * largest * part / 10));
      return NICE.reduce((best, one) => (Math.abs(Math.log(one / d)) < Math.abs(Math.log(best / d)) ? one : best));
    }));
    return [...chosen].filter((d) => frame.wavelength < 2 * d)
      .map((d) => ({ d, lines: frame.panels.flatMap((panel) => ringOn(panel, 2 * Math.asin(frame.wavelength / (2 * d)))) }));
  }

  function ringOn(panel, angle) {
    const normal = cross(panel.fs, panel.ss), area = dot(normal, normal);
    const toFs = cross(panel.ss, normal), toSs = cross(normal, panel.fs);
    const [left, right, top, bottom] = panel.bounds;
    const lines = [];
    let line = [];
    const end = () => { if (line.length > 1) lines.push(line); line = []; };
    for (let step = 0; step <= 720; step++) {
      const phi = (step * Math.PI) / 360;
      const ray = [Math.sin(angle) * Math.cos(phi), Math.sin(angle) * Math.sin(phi), Math.cos(angle)];
      const distance = dot(panel.corner, normal) / dot(ray, normal);
      const offset = ray.map((value, k) => value * distance - panel.corner[k]);
      const fs = left + dot(offset, toFs) / area, ss = top + dot(offset, toSs) / area;
      if (distance > 0 && fs >= left && fs <= right + 1 && ss >= top && ss <= bottom + 1) line.push([fs, ss]);
      else end();
    }
    end();
    return lines;
  }

  Object.assign(gallery, { load, twoTheta, panelAt });
})();
