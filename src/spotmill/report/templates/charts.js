// Draws the charts of the report. The page holds each as inert JSON; a chart takes the place of its
// picture when it is scrolled near, so that the page opens fast. Pictures stay in print, without
// scripts, and where Plotly cannot be read.
//
// Other scripts of the page may use:
//   spotmill.draw(place, { data, layout })   draw a Plotly figure in an element, in the page's colours
//   spotmill.open(dataset, index)            open a frame in the gallery; false where it is not held
var spotmill = window.spotmill || {};
window.spotmill = spotmill;

(function () {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const NARROW = 640;
  let library;

  function plotly() {
    library =
      library ||
      new Promise(function (resolve, reject) {
        const script = document.createElement("script");
        script.src = folder + "plotly.min.js";
        script.onload = () => resolve(window.Plotly);
        script.onerror = reject;
        document.head.append(script);
      });
    return library;
  }

  // On a dark ground dark colours are lightened, and black becomes the colour of text.
  function visible(colour, text) {
    if (!dark.matches || !/^#[0-9a-f]{6}$/i.test(colour)) return colour;
    const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    if (Math.max(...parts) === 0) return text;
    const light = (0.21 * parts[0] + 0.72 * parts[1] + 0.07 * parts[2]) / 255;
    const share = Math.max(0, 0.5 - light);
    return "rgb(" + parts.map((part) => Math.round(part + share * (255 - part))).join(",") + ")";
  }

  function recolour(part, text) {
    for (const [key, value] of Object.entries(part || {})) {
      if (key === "color" && typeof value === "string") part[key] = visible(value, text);
      else if (value && typeof value === "object" && !Array.isArray(value)) recolour(value, text);
    }
  }

  function themed(told, width) {
    const { data, layout } = structuredClone(told);
    const colours = getComputedStyle(document.documentElement);
    const of = (name) => colours.getPropertyValue(name).trim();
    data.forEach((trace) => recolour(trace, of("--text")));
    Object.assign(layout, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: of("--text"), family: getComputedStyle(document.body).fontFamily, size: 13 },
      hoverlabel: { bgcolor: of("--panel"), bordercolor: of("--line"), font: { color: of("--text") } },
      margin: { l: 64, r: 16, t: 36, b: 56 },
      legend: { orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom" },
    });
    if (layout.showlegend) layout.margin.b = 100;
    const axes = Object.keys(layout).filter((name) => /^[xy]axis/.test(name));
    for (const name of axes) {
      const look = { gridcolor: of("--line"), linecolor: of("--soft"), zeroline: false };
      Object.assign(layout[name], look, { automargin: true, exponentformat: "none" });
      if (layout[name].title) layout[name].title.standoff = 8;
    }
    const panels = axes.filter((name) => name[0] === "x").length;
    if (width >= NARROW && width / panels < 290) {
      breakTitles(axes.filter((name) => name[0] === "x").map((name) => layout[name]));
      layout.margin.b += 16;
    }
    if (width < NARROW && panels > 1) {
      stack(layout, panels);
      const names = data.filter((trace) => trace.showlegend).length;
      if (layout.showlegend) layout.margin.b = 60 + 22 * names;
      layout.height += layout.margin.b;
    }
    return { data, layout };
  }

  // Where there is little room, names of axes take two lines.
  function breakTitles(axes) {
    for (const { title } of axes.filter((axis) => axis.title && axis.title.text)) {
      title.text = title.text.replace(/: | of the /, (between) => between + "<br>");
      title.font = { size: 12 };
    }
  }

  // On a narrow screen panels stand one above the other.
  function stack(layout, panels) {
    const each = 1 / panels;
    for (let number = 0; number < panels; number += 1) {
      const name = number ? String(number + 1) : "";
      const top = 1 - number * each;
      layout["xaxis" + name].domain = [0, 1];
      layout["yaxis" + name].domain = [top - 0.75 * each, top - 0.1 * each];
      breakTitles([layout["xaxis" + name], layout["yaxis" + name]]);
      const title = (layout.annotations || [])[number];
      if (title) Object.assign(title, { x: 0.5, y: top - 0.1 * each });
    }
    layout.height = panels * ((layout.meta || {}).panel || 330);
  }

  spotmill.draw = function (place, told) {
    const again = function (Plotly) {
      const { data, layout } = themed(told, place.clientWidth);
      // The element has the height; a chart that is resized fills it.
      place.style.height = layout.height + "px";
      delete layout.height;
      const settings = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
      return Plotly.react(place, data, layout, settings);
    };
    // The chart is told by the words of its picture.
    const picture = place.closest("figure") && place.closest("figure").querySelector("img");
    if (picture) {
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", picture.alt);
    }
    return plotly().then(function (Plotly) {
      dark.addEventListener("change", () => again(Plotly));
      let narrow = place.clientWidth < NARROW;
      new ResizeObserver(function () {
        if (place.clientWidth && narrow !== place.clientWidth < NARROW) {
          narrow = !narrow;
          again(Plotly);
        }
      }).observe(place);
      return again(Plotly);
    });
  };

  spotmill.open = function (dataset, index) {
    return Boolean(spotmill.openFrame && spotmill.openFrame(dataset, index));
  };

  // A point of a map opens its frame: by a click, or by arrow keys and Enter.
  function opensFrames(place, told, said) {
    const first = told.data.filter((trace) => (trace.xaxis || "x") === "x");
    const points = first.flatMap((trace) =>
      (trace.customdata || []).map((frame, number) => ({ trace: told.data.indexOf(trace), number, frame })),
    );
    if (!points.length) return;
    let at = -1;
    const open = function (frame) {
      const held = spotmill.open(frame[0], frame[1]);
      said.textContent = held ? "" : "The gallery does not hold this frame.";
    };
    place.tabIndex = 0;
    place.setAttribute("role", "application");
    place.setAttribute("aria-label", "Map of frames: arrow keys go from frame to frame, Enter opens one");
    place.on("plotly_click", (event) => event.points[0].customdata && open(event.points[0].customdata));
    place.addEventListener("keydown", function (event) {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) {
        at = (at + step + points.length) % points.length;
        const point = points[at];
        window.Plotly.Fx.hover(place, [{ curveNumber: point.trace, pointNumber: point.number }], ["xy"]);
        const { hovertext, text } = told.data[point.trace];
        said.textContent = (hovertext || text)[point.number].replace(/<br>/g, "; ");
      } else if (event.key === "Enter" && at >= 0) {
        open(points[at].frame);
      } else return;
      event.preventDefault();
    });
  }

  function begin(figure) {
    const place = figure.querySelector(".chart");
    const told = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const said = figure.querySelector(".said");
    spotmill
      .draw(place, told)
      .then(function () {
        opensFrames(place, told, said);
        place.classList.add("ready");
      })
      .catch(() => figure.classList.remove("charted"));
  }

  function prepare(figure, watcher) {
    const button = figure.querySelector(".swap");
    figure.querySelector(".chart").style.height = figure.dataset.height + "px";
    figure.classList.add("charted");
    button.hidden = false;
    button.addEventListener("click", function () {
      const charted = figure.classList.toggle("charted");
      button.textContent = charted ? "Show the picture" : "Show the chart";
      if (charted) window.dispatchEvent(new Event("resize"));
    });
    watcher.observe(figure);
  }

  // The names of frames that the gallery holds open them.
  function links() {
    for (const name of document.querySelectorAll("span[data-frame]")) {
      const { frame, index } = name.dataset;
      if (!spotmill.holdsFrame || !spotmill.holdsFrame(frame, Number(index))) continue;
      const link = document.createElement("a");
      link.href = "#gallery";
      link.textContent = name.textContent;
      link.addEventListener("click", function (event) {
        if (spotmill.open(frame, Number(index))) event.preventDefault();
      });
      name.replaceChildren(link);
    }
  }

  // Only what scrolls sideways is a stop of the Tab key.
  function stops() {
    for (const box of document.querySelectorAll(".scroll")) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  document.addEventListener("DOMContentLoaded", function () {
    const watcher = new IntersectionObserver(
      function (entries) {
        for (const entry of entries.filter((one) => one.isIntersecting)) {
          watcher.unobserve(entry.target);
          begin(entry.target);
        }
      },
      { rootMargin: "500px" },
    );
    document.querySelectorAll("figure[data-height]").forEach((figure) => prepare(figure, watcher));
  });
  // A link into what is folded up opens it; one to a section opens the section.
  function unfold(hash) {
    const target = document.getElementById(hash.slice(1));
    if (!target) return;
    const within = target.matches("section") ? target.querySelector(":scope > details.fold") : null;
    for (let part = within || target; part; part = part.parentElement) {
      if (part.matches("details")) part.open = true;
    }
  }

  function foldAll() {
    const button = document.getElementById("unfold");
    if (!button) return;
    const folds = [...document.querySelectorAll("details.fold")];
    const some = () => folds.some((part) => !part.open);
    const name = () => (button.textContent = some() ? "Open all" : "Fold all");
    button.hidden = !folds.length;
    button.addEventListener("click", function () {
      const open = some();
      folds.forEach((part) => (part.open = open));
      name();
    });
    folds.forEach((part) => part.addEventListener("toggle", name));
    document.addEventListener("click", function (event) {
      const link = event.target.closest("a[href^='#']");
      if (link) unfold(link.hash);
    });
    window.addEventListener("hashchange", () => unfold(location.hash));
    if (location.hash) {
      unfold(location.hash);
      document.getElementById(location.hash.slice(1))?.scrollIntoView();
    }
  }
  document.addEventListener("DOMContentLoaded", foldAll);

  // What is folded up is printed, too.
  let unfolded = [];
  window.addEventListener("beforeprint", function () {
    unfolded = [...document.querySelectorAll("details:is(.more, .fold):not([open])")];
    unfolded.forEach((part) => (part.open = true));
  });
  window.addEventListener("afterprint", () => unfolded.forEach((part) => (part.open = false)));
  document.addEventListener("toggle", stops, true);
  window.addEventListener("load", stops);
  window.addEventListener("load", links);
  window.addEventListener("resize", stops);
})();
