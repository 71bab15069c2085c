"use strict";
// The gallery of frames: a grid to filter and page through. gallery_frame.js reads a frame,
// gallery_viewer.js shows it, gallery_paint.js draws it.
//
// index.js calls spotmill.frames, the file of a frame spotmill.frame. For others there are
// spotmill.openFrame(dataset, index[, share]), which returns false where the gallery does not hold
// the frame, and spotmill.holdsFrame, which only asks.
(() => {
  const spotmill = (window.spotmill = window.spotmill || {});
  const gallery = (spotmill.gallery = { folder: new URL(".", document.currentScript.src).href });
  const PAGE = 24;
  const at = (gallery.at = (id) => document.getElementById(`gallery-${id}`));

  let all = []; // lines of the list
  let total = 0; // frames of the whole production
  let page = 0;
  gallery.shown = []; // those that the filters leave

  spotmill.frames = ({ of, frames }) => {
    all = frames;
    total = of;
    for (const dataset of new Set(all.map((line) => line.dataset))) {
      at("dataset").add(new Option(dataset, dataset));
    }
    at("flux").hidden = all.every((line) => line.flux === 1);
    at("app").hidden = false;
    filter();
  };

  const find = (dataset, index, share) =>
    all.find((line) => line.dataset === String(dataset) && line.index === Number(index) &&
      line.share === Number(share ?? 1)) ||
    (share === undefined ? all.find((line) => line.dataset === String(dataset) && line.index === Number(index)) : undefined);

  spotmill.holdsFrame = (dataset, index, share) => Boolean(find(dataset, index, share));
  spotmill.openFrame = (dataset, index, share) => {
    const line = find(dataset, index, share);
    if (!line) return false;
    gallery.open(line);
    return true;
  };

  const kindOf = (line) => (line.hit ? "hit" : line.crystal ? "miss" : "empty");
  const KINDS = { hit: "hit", miss: "no hit", empty: "no crystal" };
  const answersOf = (line) => (line.wrong === null ? "none" : line.wrong ? "wrong" : "right");
  const number = (id, otherwise) => (at(id).value === "" ? otherwise : Number(at(id).value));
  const short = (value, digits = 4) => String(Number(value.toPrecision(digits)));
  // Long names of tasks may break after an underscore.
  const breakable = (name) => name.replaceAll("_", "_\u200b");

  function filter() {
    const dataset = at("dataset").value, kind = at("kind").value, answers = at("answers").value;
    const spots = [number("spots-from", 0), number("spots-to", Infinity)];
    const flux = [number("flux-from", 0), number("flux-to", Infinity)];
    gallery.shown = all.filter((line) =>
      (!dataset || line.dataset === dataset) && (!kind || kindOf(line) === kind) &&
      (!answers || answersOf(line) === answers) &&
      line.n_spots >= spots[0] && line.n_spots <= spots[1] &&
      line.flux >= flux[0] && line.flux <= flux[1]);
    const column = { spots: "n_spots", photons: "photons" }[at("order").value];
    if (column) gallery.shown.sort((a, b) => b[column] - a[column]);
    page = 0;
    drawGrid();
  }

  // A frame that a task also looked at with less flux stands in the list once for each.
  function held() {
    const frames = new Set(all.map((line) => `${line.dataset}/${line.index}`)).size;
    const again = all.length - frames;
    return `The gallery holds ${frames} of the ${total} frames made` +
      (again ? `, and again ${again === 1 ? "one" : again} of them at another flux on the crystal.` : ".");
  }

  function drawGrid() {
    const pages = Math.max(1, Math.ceil(gallery.shown.length / PAGE));
    const part = gallery.shown.slice(page * PAGE, (page + 1) * PAGE);
    at("grid").replaceChildren(...part.map(tile));
    const range = part.length ? `${page * PAGE + 1} to ${page * PAGE + part.length} of ` : "";
    at("count").textContent = `${range}${gallery.shown.length} shown. ${held()}`;
    at("page").textContent = `page ${page + 1} of ${pages}`;
    at("page-back").disabled = page === 0;
    at("page-on").disabled = page >= pages - 1;
    at("pager").hidden = pages < 2;
  }

  function element(name, text, className) {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function tile(line) {
    const item = document.createElement("li");
    const button = element("button", "", "gallery-tile");
    button.type = "button";
    Object.assign(button.dataset, { dataset: line.dataset, index: line.index, share: line.share });
    const picture = new Image();
    picture.src = line.thumbnail;
    picture.alt = "";
    // A frame stands in the list once for each flux that a task saw it at.
    const dimmed = line.share === 1 ? "" : ` at ${short(line.share)} of the flux`;
    button.append(picture, element("strong", `${line.dataset}, ${line.name}${dimmed}`));
    const flux = line.flux === line.share ? "" : `, flux × ${short(line.flux)}`;
    const full = line.share === 1 ? "" : " at full flux";
    button.append(element("span", `${KINDS[kindOf(line)]}, ${line.n_spots} ${line.n_spots === 1 ? "spot" : "spots"}${full}${flux}`));
    button.append(element("span", `${short(line.photon_energy / 1000)} keV, ${short(line.clen)} m`));
    const wrong = line.told.filter((one) => !one.right).map((one) => one.task);
    if (wrong.length) button.append(element("span", `✗ wrong: ${wrong.map(breakable).join(", ")}`, "gallery-wrong"));
    button.addEventListener("click", () => gallery.open(line));
    item.append(button);
    return item;
  }

  function words(said) {
    if ("found" in said) return `${said.found} found, ${said.matched} right of ${said.true}`;
    if ("unit" in said) return `${said.said} ± ${said.sigma} ${said.unit}`;
    return `${said.said} (${(100 * said.score).toFixed(1)} %)`;
  }

  at("filters").addEventListener("input", filter);
  at("filters").addEventListener("reset", () => setTimeout(filter));
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const [id, step] of [["page-back", -1], ["page-on", 1]]) {
    at(id).addEventListener("click", () => { page += step; drawGrid(); });
  }

  Object.assign(gallery, { kindOf, KINDS, short, breakable, element, words });
})();
