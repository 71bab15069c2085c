"use strict";
// The viewer of one frame of the gallery: zoom, readout, pointers and keys. gallery_paint.js draws.
(() => {
  const { gallery } = window.spotmill;
  const { at, element, words, short, breakable, kindOf, KINDS } = gallery;
  const { load, twoTheta, panelAt } = gallery;
  const MOST_ZOOM = 64; // screen pixels for a pixel
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  const dialog = at("viewer"), canvas = at("canvas"), stage = at("stage");
  let current = null; // line that is open
  let frame = null; // decoded, null while it loads
  const view = { scale: 1, x: 0, y: 0 }; // screen pixels a pixel; pixel at the left and upper edge
  const { paint, onScreen, markSize, ratio } = gallery.painter(canvas, view, dark);
  let cursor = null; // [fs, ss] of the pixel under the keyboard's cursor
  let pending = 0;

  async function open(line) {
    current = line;
    frame = null;
    cursor = null;
    const place = gallery.shown.indexOf(line);
    at("previous").disabled = place <= 0;
    at("next").disabled = place < 0 || place >= gallery.shown.length - 1;
    const flux = line.share === 1 ? "" : `, at ${short(line.share)} of the flux on the crystal`;
    at("title").textContent = `Dataset ${line.dataset}, ${line.name}: ${KINDS[kindOf(line)]}${flux}`;
    at("copy").textContent = "copy “spotmill explain”";
    at("readout").textContent = at("said").textContent = "";
    at("message").textContent = "unpacking …";
    Object.assign(dialog.dataset, { dataset: line.dataset, index: line.index, share: line.share, ready: "" });
    tellFacts(line);
    if (!dialog.open) dialog.showModal();
    canvas.focus();
    resize();
    try {
      const read = await load(line);
      if (current !== line) return;
      frame = read;
    } catch (error) {
      if (current === line) at("message").textContent = `${error.message}`;
      return;
    }
    at("message").textContent = "";
    canvas.setAttribute("aria-label", `Dataset ${line.dataset}, ${line.name}: ${frame.width} × ${frame.height} pixels, ` +
      `${line.n_spots} true spots, largest pixel ${frame.largest} photons`);
    tellLegend();
    fit();
    dialog.dataset.ready = "yes";
  }

  function tellFacts(line) {
    const rows = [
      ["frame", `${line.dataset}, ${line.name}`], ["spots", `${line.n_spots}${line.share === 1 ? "" : " at full flux"}`],
      ["Bragg photons", `${line.photons}${line.share === 1 ? "" : " at full flux"}`],
      ["photon energy", `${short(line.photon_energy, 6)} eV`], ["camera length", `${short(line.clen, 6)} m`],
      ["flux on the crystal", `× ${short(line.flux)}`], ["split", line.split || "in no task"],
    ];
    const list = rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]);
    for (const said of line.told) {
      const truth = "truth" in said ? `, true ${said.truth}${said.unit ? ` ${said.unit}` : ""}` : "";
      const value = element("dd", `${words(said)}${truth} `);
      value.append(element("span", said.right ? "✓ right" : "✗ wrong", said.right ? "right" : "wrong"));
      list.push(element("dt", breakable(said.task)), value);
    }
    at("facts").replaceChildren(...list);
    at("legend").textContent = "";
  }

  function tellLegend() {
    const faint = frame.spots.photons.filter((n) => n < frame.min_photons).length;
    const parts = [`○ true spots: ${frame.spots.fs.length - faint} of at least ${frame.min_photons} photons` +
      (faint ? `, dotted: ${faint} fainter` : "") + "."];
    for (const own of frame.peaks) {
      const wrong = own.matched.filter((one) => !one).length;
      parts.push(`◇ peaks found by ${own.task}: ${own.fs.length}` + (wrong ? `, crossed: ${wrong} at no true spot` : "") + ".");
    }
    at("found").parentElement.hidden = !frame.peaks.length;
    parts.push("Blue pixels count nothing.");
    at("legend").textContent = parts.join(" ");
  }

  function resize() {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(stage.clientWidth * ratio));
    canvas.height = Math.max(1, Math.round(stage.clientHeight * ratio));
    repaint();
  }

  const smallest = () => Math.min(canvas.width / frame.width, canvas.height / frame.height);

  function fit() {
    view.scale = smallest();
    view.x = (frame.width - canvas.width / view.scale) / 2;
    view.y = (frame.height - canvas.height / view.scale) / 2;
    repaint();
  }

  function zoom(factor, x = canvas.width / 2, y = canvas.height / 2) {
    if (!frame) return;
    const scale = Math.min(Math.max(view.scale * factor, smallest()), MOST_ZOOM * (window.devicePixelRatio || 1));
    view.x += x / view.scale - x / scale;
    view.y += y / view.scale - y / scale;
    view.scale = scale;
    keepInSight();
    repaint();
  }

  function move(x, y) {
    view.x += x / view.scale;
    view.y += y / view.scale;
    keepInSight();
    repaint();
  }

  // The middle of the screen stays on the frame; a frame that is seen whole stays in the middle.
  function keepInSight() {
    const whole = view.scale <= smallest() * 1.000001;
    const room = (size, length, place) => {
      const half = length / view.scale / 2;
      return (whole ? size / 2 : Math.min(Math.max(place + half, 0), size)) - half;
    };
    view.x = room(frame.width, canvas.width, view.x);
    view.y = room(frame.height, canvas.height, view.y);
  }

  function repaint() {
    Object.assign(dialog.dataset, { scale: view.scale.toFixed(4), x: view.x.toFixed(2), y: view.y.toFixed(2) });
    if (!pending) pending = requestAnimationFrame(() => { pending = 0; if (frame && dialog.open) paint(frame, cursor); });
  }

  // ---------------------------------------------------------- what is where

  function tell(fs, ss) {
    const inside = fs >= 0 && ss >= 0 && fs < frame.width && ss < frame.height;
    if (!inside) { at("readout").textContent = ""; return ""; }
    const number = ss * frame.width + fs, count = frame.photons[number];
    const parts = [`fs ${fs}, ss ${ss}: ` +
      (frame.live[number] ? `${count} ${count === 1 ? "photon" : "photons"}` : "no live pixel")];
    const panel = panelAt(frame, fs, ss);
    if (panel) {
      const angle = twoTheta(panel, fs + 0.5, ss + 0.5);
      parts.push(`${(frame.wavelength / (2 * Math.sin(angle / 2))).toPrecision(4)} Å`);
      parts.push(`2θ ${((angle * 180) / Math.PI).toFixed(2)}°`);
      if (frame.panels.length > 1) parts.push(`panel ${panel.name}`);
    }
    const near = nearestSpot(fs + 0.5, ss + 0.5);
    if (near !== null) {
      const { hkl: [h, k, l], photons, d } = frame.spots;
      parts.push(`true spot ${h[near]} ${k[near]} ${l[near]}, ${d[near]} Å, ${photons[near]} photons`);
    }
    const said = parts.join(", ");
    Object.assign(at("readout").dataset, { fs, ss });
    at("readout").textContent = said;
    return said;
  }

  function nearestSpot(fs, ss) {
    let best = null, least = Math.max(4, markSize() / view.scale) ** 2;
    frame.spots.fs.forEach((x, number) => {
      const away = (x - fs) ** 2 + (frame.spots.ss[number] - ss) ** 2;
      if (away < least) { least = away; best = number; }
    });
    return best;
  }

  // ------------------------------------------------------- pointers and keys

  const pointers = new Map();
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    zoom(Math.exp(-event.deltaY * lines * 0.0022), ...placeOf(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, placeOf(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!frame) return;
    const place = placeOf(event), before = pointers.get(event.pointerId);
    if (before && pointers.size === 1) move(before[0] - place[0], before[1] - place[1]);
    if (before && pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, where]) => where);
      const apart = (a, b) => Math.max(1, Math.hypot(a[0] - b[0], a[1] - b[1]));
      const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
      const [was, is] = [middle(before, other), middle(place, other)];
      move(was[0] - is[0], was[1] - is[1]);
      zoom(apart(place, other) / apart(before, other), ...is);
    }
    if (before) pointers.set(event.pointerId, place);
    tell(Math.floor(view.x + place[0] / view.scale), Math.floor(view.y + place[1] / view.scale));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function moveCursor([x, y]) {
    const middle = [view.x + canvas.width / view.scale / 2, view.y + canvas.height / view.scale / 2];
    const start = cursor || middle.map(Math.floor);
    const clip = (value, size) => Math.min(Math.max(value, 0), size - 1);
    cursor = cursor ? [clip(start[0] + x, frame.width), clip(start[1] + y, frame.height)] : start;
    const [a, b] = onScreen(cursor[0] + 0.5, cursor[1] + 0.5), margin = 30 * ratio() + view.scale;
    const out = (value, length) => Math.min(value - margin, 0) + Math.max(value - length + margin, 0);
    move(out(a, canvas.width), out(b, canvas.height));
    at("said").textContent = tell(...cursor);
  }

  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !frame) return;
    const arrow = event.target === canvas && ARROWS[event.key];
    if (arrow && event.shiftKey) moveCursor(arrow);
    else if (arrow) move((arrow[0] * canvas.width) / 8, (arrow[1] * canvas.height) / 8);
    else if (event.target instanceof HTMLSelectElement) return;
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") fit();
    else if (event.key === "n" || event.key === "N") step(1);
    else if (event.key === "p" || event.key === "P") step(-1);
    else return;
    event.preventDefault();
  });

  function step(by) {
    const next = gallery.shown[gallery.shown.indexOf(current) + by];
    if (next && gallery.shown.includes(current)) open(next);
  }

  async function copy() {
    const number = current.name.replace("frame ", "").replace("empty ", "e");
    const command = `spotmill explain ${current.dataset}/${number}`;
    try {
      await navigator.clipboard.writeText(command);
      at("copy").textContent = "copied";
    } catch {
      // Where a page may not write to the clipboard, the words are there to be marked.
      at("copy").textContent = command;
    }
    at("said").textContent = at("copy").textContent;
  }

  at("zoom-in").addEventListener("click", () => zoom(1.5));
  at("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  at("fit").addEventListener("click", () => frame && fit());
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => dialog.close());
  at("copy").addEventListener("click", copy);
  for (const id of ["levels", "log", "rings", "true", "found"]) at(id).addEventListener("change", repaint);
  dark.addEventListener("change", repaint);
  new ResizeObserver(() => {
    if (!dialog.open) return;
    const whole = frame && Math.abs(view.scale / smallest() - 1) < 1e-6;
    resize();
    if (frame) { if (whole) fit(); else zoom(1); }
  }).observe(stage);
  if (window.innerWidth < 600) at("more").open = false;
  gallery.open = open;
})();
