// The live view: asks now and then whether anything changed, and replaces what did.
"use strict";

(() => {
  const EVERY = 2000, REST = 8000; // ms, while a run lives and when none does
  const STALE = 120; // s
  const find = (words) => document.querySelector(words);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  let etag = "";
  let apart = 0; // ms that the server's clock is ahead of this one
  let shown = {};
  let curves = [];
  let drawn = {};

  // ---- times -------------------------------------------------------------------------------
  const words = (seconds) => {
    const whole = Math.max(0, Math.round(seconds));
    const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const first = parts.findIndex(([unit]) => whole >= unit);
    if (first < 0) return "0 s";
    const [unit, name] = parts[first];
    const rest = parts[first + 1];
    const more = rest ? Math.floor((whole % unit) / rest[0]) : 0;
    return `${Math.floor(whole / unit)} ${name}` + (more ? ` ${more} ${rest[1]}` : "");
  };

  const tick = () => {
    const now = (Date.now() + apart) / 1000;
    for (const time of document.querySelectorAll("time[data-since]")) {
      time.textContent = `for ${words(now - Number(time.dataset.since))}`;
    }
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Number(time.dataset.until) - now;
      time.textContent = left > 0 ? `in ${words(left)}` : "any moment";
    }
  };

  // ---- parts -------------------------------------------------------------------------------
  // Only what changed is replaced, so that focus, scrolling and pictures stay as they are.
  const place = (parts) => {
    for (const [name, html] of Object.entries(parts)) {
      const part = find(`[data-part="${name}"]`);
      if (!part || shown[name] === html) continue;
      shown[name] = html;
      const link = part.contains(document.activeElement) && document.activeElement.getAttribute("href");
      const scrolled = [...part.querySelectorAll(".scroll, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
      part.innerHTML = html;
      part.querySelectorAll(".scroll, pre").forEach((one, at) => {
        if (scrolled[at]) [one.scrollLeft, one.scrollTop] = scrolled[at];
      });
      if (link) [...part.querySelectorAll("a")].find((one) => one.getAttribute("href") === link)?.focus();
    }
  };

  // ---- curves ------------------------------------------------------------------------------
  const layout = (curve) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: colour("--line"), zeroline: false, linecolor: colour("--soft"), automargin: true };
    const log = find("#log").checked;
    return {
      title: { text: curve.task + (curve.goes_on ? " …" : ""), x: 0, xanchor: "left", font: { size: 14 } },
      font: { color: colour("--text"), family: "system-ui, sans-serif", size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 10, r: 10, t: 30, b: 10 },
      xaxis: { ...axis, title: { text: "epoch", standoff: 4 }, rangemode: "tozero" },
      yaxis: {
        ...axis, title: { text: "loss", standoff: 4 }, type: log ? "log" : "linear",
        // Of more, a logarithmic axis labels every digit of each power of ten.
        exponentformat: "power", nticks: log ? 3 : 6,
      },
      showlegend: false,
      hovermode: "x unified",
      hoverlabel: { bgcolor: colour("--panel"), font: { color: colour("--text") } },
      uirevision: `${curve.task}${log}`,
    };
  };

  const lines = (curve) => {
    const style = getComputedStyle(document.documentElement);
    const colours = {
      train: style.getPropertyValue("--training").trim(), validation: style.getPropertyValue("--validation").trim(),
    };
    const mode = curve.epoch.length < 40 ? "lines+markers" : "lines";
    return ["train", "validation"].map((side) => ({
      name: side === "train" ? "training" : side, x: curve.epoch, y: curve[side], mode,
      line: { color: colours[side], width: 2, dash: side === "train" ? "dot" : "solid" },
      marker: { size: 5, symbol: side === "train" ? "circle" : "square" },
      type: "scatter", hovertemplate: "%{y:.4g}",
    }));
  };

  const draw = (anew) => {
    if (!window.Plotly || !find("#charts")) return;
    find("#switch").hidden = curves.length === 0;
    const known = new Set(curves.map((curve) => `chart-${curve.task}`));
    for (const old of [...find("#charts").children]) {
      if (!known.has(old.id)) { window.Plotly.purge(old); old.remove(); delete drawn[old.id]; }
    }
    for (const [at, curve] of curves.entries()) {
      const id = `chart-${curve.task}`;
      const text = JSON.stringify(curve);
      let box = document.getElementById(id);
      if (!box) {
        box = document.createElement("div");
        box.id = id;
        box.className = "chart";
        box.setAttribute("role", "img");
        box.setAttribute("aria-label", `Loss of ${curve.task} against the epoch; the table below tells its last values`);
      }
      const there = find("#charts").children[at];
      if (there !== box) find("#charts").insertBefore(box, there ?? null);
      if (!anew && drawn[id] === text) continue;
      drawn[id] = text;
      window.Plotly.react(box, lines(curve), layout(curve), { responsive: true, displayModeBar: false });
    }
  };

  // ---- questions ---------------------------------------------------------------------------
  let lostSince = null;
  const lost = (is, age, failing) => {
    lostSince = is ? (lostSince ?? new Date()) : null;
    const old = age > STALE;
    find("#lost").hidden = !is && !old && !failing;
    if (failing) {
      find("#lost").textContent = `The last look at the results failed; why is told where the server runs. What stands here is ${words(age)} old.`;
    } else if (is) {
      find("#lost").textContent = `No answer from the server since ${lostSince.toLocaleTimeString()}: has it ended, or the tunnel to it?`;
    } else if (old) {
      find("#lost").textContent = `The results could not be read for ${words(age)}: does their disk answer?`;
    }
  };

  const ask = async () => {
    let pause = REST;
    try {
      const answer = await fetch("/changes.json", {
        cache: "no-store", headers: etag ? { "If-None-Match": etag } : {}, signal: AbortSignal.timeout(30000),
      });
      const date = Date.parse(answer.headers.get("date"));
      if (date && Math.abs(date - Date.now()) > 5000) apart = date - Date.now();
      if (answer.status === 200) {
        const told = await answer.json();
        etag = answer.headers.get("etag");
        place(told.parts);
        curves = told.curves;
        document.title = `${told.title} · ${find(".name").textContent}`;
        document.body.dataset.live = told.live ? "yes" : "";
        draw(false);
        tick();
      } else if (answer.status !== 304) throw new Error(String(answer.status));
      lost(false, Number(answer.headers.get("age")), answer.headers.has("spotmill-failing"));
      pause = document.body.dataset.live ? EVERY : REST;
    } catch {
      lost(true);
      pause = EVERY;
    }
    setTimeout(ask, document.hidden ? REST * 2 : pause);
  };

  if (find("#charts")) {
    find("#log").addEventListener("change", () => draw(true));
    dark.addEventListener("change", () => draw(true));
    setInterval(tick, 1000);
    tick();
    ask();
  }

  // ---- frames: arrow keys ------------------------------------------------------------------
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const which = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    const link = which && find(`a[rel="${which}"]`);
    if (link) { event.preventDefault(); link.click(); }
  });
})();
