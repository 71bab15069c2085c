// What tests ask a page: its structure, colours and boxes. Every function answers with data.
(() => {
  const name = (node) => {
    const id = node.id ? "#" + node.id : "";
    const kind = typeof node.className === "string" && node.className ? "." + node.className.trim().replace(/\s+/g, ".") : "";
    const text = (node.textContent || "").trim().replace(/\s+/g, " ").slice(0, 40);
    return node.tagName.toLowerCase() + id + kind + (text ? ` “${text}”` : "");
  };
  const shown = (node) => node.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && node.getClientRects().length > 0;
  const all = (root, what) => [...root.querySelectorAll(what)];
  const under = (selector) => (selector ? document.querySelector(selector) : document);

  // The part of a box that what scrolls or clips around it lets be seen, in page coordinates.
  function box(node) {
    let { left, top, right, bottom } = node.getBoundingClientRect();
    for (let at = node.parentElement; at && at !== document.body; at = at.parentElement) {
      if (getComputedStyle(at).overflow !== "visible") {
        const clip = at.getBoundingClientRect();
        left = Math.max(left, clip.left);
        right = Math.min(right, clip.right);
        top = Math.max(top, clip.top);
        bottom = Math.min(bottom, clip.bottom);
      }
    }
    return { left, top, right, bottom };
  }

  const colours = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  // Any CSS colour as red, green, blue (0 to 255) and opacity (0 to 1).
  function colour(css) {
    colours.clearRect(0, 0, 1, 1);
    colours.fillStyle = "#000";
    colours.fillStyle = css;
    colours.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = colours.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  }
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  // Relative luminance and contrast: WCAG 2.2.
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);

  // The colour behind a node, or null where a picture or canvas is.
  function ground(node) {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== "none") return null;
      layers.push(colour(style.backgroundColor));
    }
    let below = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
    for (const layer of layers.reverse()) below = over(layer, below);
    return below;
  }
  function opacity(node) {
    let whole = 1;
    for (let at = node; at; at = at.parentElement) whole *= Number(getComputedStyle(at).opacity);
    return whole;
  }

  const tabbable = "a[href], area[href], button, input, select, textarea, summary, [tabindex], [contenteditable], iframe, audio[controls], video[controls]";

  window.inspect = {
    links: () => all(document, "a[href], link[href], script[src], img[src]").map((node) => node.getAttribute("href") || node.getAttribute("src")).filter(Boolean),
    has: (id) => document.getElementById(id) !== null,

    // Faults of structure under a selector.
    structure(selector) {
      const bad = [];
      const root = under(selector);
      const ids = {};
      for (const node of all(document, "[id]")) ids[node.id] = (ids[node.id] || 0) + 1;
      for (const [id, count] of Object.entries(ids)) if (count > 1) bad.push(`id ${id} stands ${count} times`);
      let level = selector ? null : 0;
      for (const node of all(root, "h1, h2, h3, h4, h5, h6")) {
        const now = Number(node.tagName[1]);
        if (level !== null && now > level + 1) bad.push(`heading h${now} after h${level}: ${name(node)}`);
        if (!node.textContent.trim() && shown(node)) bad.push(`empty heading ${name(node)}`);
        level = now;
      }
      for (const node of all(root, "img")) {
        // A picture within a button or link that says it in words, to be read, is an ornament.
        const told = node.getAttribute("alt") === "" && node.closest("button, a")?.innerText.trim();
        if (told) continue;
        if (!(node.getAttribute("alt") || "").trim()) bad.push(`no alt: ${node.src.slice(0, 80)}`);
        else if (node.alt.trim().length < 15) bad.push(`short alt: ${node.alt}`);
        // A picture that waits to be scrolled to has no size yet.
        if (node.complete && node.loading !== "lazy" && node.src && !node.naturalWidth) bad.push(`broken picture: ${node.src.slice(0, 80)}`);
      }
      for (const node of all(root, "svg, canvas")) {
        const inside = node.closest("#js-plotly-tester, [aria-hidden=true], [role=img], button, a, [aria-label]");
        const named = node.getAttribute("aria-label") || node.getAttribute("aria-labelledby") || node.querySelector("title");
        if (!inside && !named && shown(node)) bad.push(`drawing without a name: ${name(node)}`);
      }
      for (const table of all(root, "table")) {
        const box = table.closest("[role=group][aria-label], [role=region][aria-label]");
        const named = table.caption || table.getAttribute("aria-label") || table.getAttribute("aria-labelledby") || box;
        if (!named) bad.push(`table without a name: ${name(table)}`);
        if (!table.querySelector("th")) bad.push(`table without headers: ${name(table)}`);
        for (const th of all(table, "th")) if (!th.textContent.trim() && !th.getAttribute("aria-label")) bad.push(`empty header in ${name(table)}`);
        const wide = all(table, "tbody tr").map((row) => [...row.cells].reduce((sum, cell) => sum + cell.colSpan, 0));
        if (!table.querySelector("tbody [rowspan]") && new Set(wide).size > 1) bad.push(`rows of different length (${[...new Set(wide)]}) in ${name(table)}`);
      }
      for (const node of all(root, "*")) {
        for (const key of ["aria-labelledby", "aria-describedby", "aria-controls", "for"]) {
          for (const id of (node.getAttribute(key) || "").split(/\s+/).filter(Boolean)) {
            if (!ids[id]) bad.push(`${key}=${id} of ${name(node)} leads nowhere`);
          }
        }
      }
      for (const node of all(root, "figure")) if (!node.querySelector("figcaption")) bad.push(`figure without a caption: ${name(node)}`);
      return bad;
    },

    // Whole page: language, title, one h1, landmarks.
    frame() {
      const bad = [];
      if (!document.documentElement.lang) bad.push("no lang");
      if (!document.title.trim()) bad.push("no title");
      if (all(document, "h1").length !== 1) bad.push(`${all(document, "h1").length} h1`);
      for (const mark of ["main", "header, [role=banner]"]) if (!document.querySelector(mark)) bad.push(`no ${mark}`);
      for (const nav of all(document, "nav")) if (!nav.getAttribute("aria-label")) bad.push("nav without a name");
      return bad;
    },

    // Texts with too little contrast, worst first.
    contrast(selector) {
      const bad = new Map();
      const walker = document.createTreeWalker(under(selector) === document ? document.body : under(selector), NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !shown(node) || node.closest("script, style, noscript, :disabled, [aria-disabled=true], option")) continue;
        const below = ground(node);
        if (!below) continue;
        const style = getComputedStyle(node);
        const ink = colour(node instanceof SVGElement ? style.fill : style.color);
        ink[3] *= opacity(node);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        const ratio = contrast(over(ink, below), below);
        if (ratio < (large ? 3 : 4.5) - 0.005) {
          const key = `${style.color} on ${below.slice(0, 3).map(Math.round)}`;
          if (!bad.has(key)) bad.set(key, { ratio, text: `${ratio.toFixed(2)}: ${key}: ${name(node)}` });
        }
      }
      return [...bad.values()].sort((a, b) => a.ratio - b.ratio).map((one) => one.text);
    },

    // How far the page scrolls sideways, and what sticks out.
    overflow() {
      const page = document.scrollingElement;
      if (page.scrollWidth <= page.clientWidth) return [];
      const out = all(document.body, "*").filter((node) => shown(node) && box(node).right > page.clientWidth + 1);
      return [`${page.scrollWidth} > ${page.clientWidth}`, ...out.slice(0, 8).map((node) => `${name(node)} to ${Math.round(box(node).right)}`)];
    },

    sections: () => all(document, "main > section, main section[id]").filter((node) => !node.parentElement.closest("section")).map((node) => node.id),
    figures: (selector) => all(under(selector), "figure[id]").filter(shown).map((node) => node.id),

    // Texts and pictures of no size, and pairs that lie over each other.
    boxes(selector) {
      const bad = [];
      const leaves = all(under(selector), "h1, h2, h3, h4, h5, h6, p, li, dt, dd, img, canvas, button, input, select, label, summary, th, td, figcaption, caption, pre")
        .filter((node) => shown(node) && !node.closest(".visually-hidden, [aria-hidden=true], .js-plotly-plot, [data-layered]") && !node.querySelector("p, li, dd, img, canvas, table, ul, input, select, button"));
      const found = [];
      for (const node of leaves) {
        const own = node.getBoundingClientRect();
        const says = node.textContent.trim() || node.matches("img, canvas, input, select");
        if ((own.width < 1 || own.height < 1) && says && !node.matches("td, th")) bad.push(`no size: ${name(node)}`);
        const seen = box(node);
        if (seen.right - seen.left > 1 && seen.bottom - seen.top > 1) found.push([seen, node]);
      }
      found.sort((a, b) => a[0].top - b[0].top);
      for (let i = 0; i < found.length; i++) {
        const [a, one] = found[i];
        for (let k = i + 1; k < found.length && found[k][0].top < a.bottom; k++) {
          const [b, two] = found[k];
          if (one.contains(two) || two.contains(one)) continue;
          const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          if (width > 2 && height > 2) bad.push(`overlap ${Math.round(width)}×${Math.round(height)}: ${name(one)} and ${name(two)}`);
        }
      }
      return bad;
    },

    // Titles and legend of a chart that lie over each other or stick out of it.
    words(selector) {
      const bad = [];
      const chart = under(selector);
      const frame = chart.getBoundingClientRect();
      const texts = all(chart, ".g-xtitle text, .g-ytitle text, [class*=title] > text.xtitle, .annotation-text, .legend, .infolayer [class^=g-x] text, .infolayer [class^=g-y] text");
      const found = [...new Set(texts)].map((node) => [node.getBoundingClientRect(), name(node)]).filter(([at]) => at.width > 1);
      for (const [at, words] of found) {
        if (at.left < frame.left - 2 || at.right > frame.right + 2 || at.top < frame.top - 2 || at.bottom > frame.bottom + 2) bad.push(`sticks out: ${words}`);
      }
      found.forEach(([a, one], i) => found.slice(i + 1).forEach(([b, two]) => {
        const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (width > 2 && height > 3) bad.push(`overlap ${Math.round(width)}×${Math.round(height)}: ${one} and ${two}`);
      }));
      return bad;
    },

    // What the Tab key must reach: of a group of radio buttons one.
    reachable() {
      const groups = new Set();
      return all(document, tabbable).filter((node) => {
        if (node.tabIndex < 0 || node.disabled || !shown(node) || node.closest("[inert]")) return false;
        if (node.type !== "radio") return true;
        const fresh = !groups.has(node.name);
        groups.add(node.name);
        return fresh;
      }).map((node, i) => { node.dataset.stop = i; return name(node); });
    },
    // Where the focus is, and whether an eye can tell.
    focused() {
      const node = document.activeElement;
      if (!node || node === document.body) return null;
      const style = getComputedStyle(node);
      const ring = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1) || style.boxShadow !== "none";
      const at = node.getBoundingClientRect();
      return { stop: node.dataset.stop === undefined ? null : Number(node.dataset.stop), name: name(node), ring, inView: at.bottom > 0 && at.top < innerHeight && at.right > 0 && at.left < innerWidth };
    },
  };
})();
