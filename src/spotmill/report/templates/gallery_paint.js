"use strict";
// What the viewer of a frame draws: pixels, rings, true spots, found peaks, the cursor.
(() => {
  const { gallery } = window.spotmill;
  const { at } = gallery;

  // Draws on a canvas where `view` says: screen pixels a pixel, and the pixel at the left and upper
  // edge. `view` is the viewer's own and changes.
  gallery.painter = (canvas, view, dark) => {
    const context = canvas.getContext("2d");
    let frame = null; // that is painted
    let cursor = null; // [fs, ss]

    const MAGMA = [[0, 0, 4], [20, 14, 54], [59, 15, 112], [100, 26, 128], [140, 41, 129], [183, 55, 121],
      [222, 73, 104], [247, 112, 92], [254, 159, 109], [254, 207, 146], [252, 253, 191]];
    const packed = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;

    // Colours of 0 to the largest count that is told apart; a single photon is never pale.
    function colours() {
      const most = Math.min(Number(at("levels").value) || Math.max(frame.largest, 1), 65535);
      const table = new Uint32Array(most + 1);
      table[0] = packed(dark.matches ? [0, 0, 0] : [255, 255, 255]);
      for (let n = 1; n <= most; n++) {
        const part = most === 1 ? 1 : at("log").checked ? Math.log(n) / Math.log(most) : (n - 1) / (most - 1);
        const place = 10 * (dark.matches ? 0.35 + 0.65 * part : 0.78 * (1 - part));
        const low = Math.min(Math.floor(place), 9), rest = place - low;
        table[n] = packed(MAGMA[low].map((value, k) => Math.round(value + rest * (MAGMA[low + 1][k] - value))));
      }
      return table;
    }

    // Pixels [first, end) of the frame behind each pixel of the screen.
    function spans(length, size, start) {
      const first = new Int32Array(length), end = new Int32Array(length);
      for (let i = 0; i < length; i++) {
        first[i] = Math.floor(start + i / view.scale);
        end[i] = Math.max(first[i] + 1, Math.floor(start + (i + 1) / view.scale));
        if (first[i] < 0 || first[i] >= size) end[i] = first[i];
        end[i] = Math.min(end[i], size);
      }
      return [first, end];
    }

    function paint(shown, pixel) {
      frame = shown;
      cursor = pixel;
      const { width, photons, live } = frame;
      const picture = context.createImageData(canvas.width, canvas.height);
      const out = new Uint32Array(picture.data.buffer);
      const table = colours(), most = table.length - 1;
      const outside = packed(dark.matches ? [29, 34, 40] : [236, 239, 242]);
      const gap = packed(dark.matches ? [38, 66, 88] : [188, 215, 234]);
      const [left, right] = spans(canvas.width, width, view.x);
      const [top, bottom] = spans(canvas.height, frame.height, view.y);
      for (let y = 0, start = 0; y < canvas.height; y++, start += canvas.width) {
        if (y && top[y] === top[y - 1] && bottom[y] === bottom[y - 1]) {
          out.copyWithin(start, start - canvas.width, start);
          continue;
        }
        const middle = ((top[y] + bottom[y]) >> 1) * width;
        for (let x = 0; x < canvas.width; x++) {
          if (top[y] >= bottom[y] || left[x] >= right[x]) { out[start + x] = outside; continue; }
          // The largest pixel of a block, so that single photons stay.
          let count = 0;
          for (let row = top[y] * width; row < bottom[y] * width; row += width) {
            for (let k = row + left[x]; k < row + right[x]; k++) if (photons[k] > count) count = photons[k];
          }
          out[start + x] = count || live[middle + ((left[x] + right[x]) >> 1)] ? table[Math.min(count, most)] : gap;
        }
      }
      context.putImageData(picture, 0, 0);
      if (at("rings").checked) drawRings();
      if (at("true").checked) drawTrue();
      if (at("found").checked) drawFound();
      if (cursor) drawCursor();
    }

    const onScreen = (fs, ss) => [(fs - view.x) * view.scale, (ss - view.y) * view.scale];
    const ratio = () => window.devicePixelRatio || 1;
    const inSight = ([x, y], margin) =>
      x > -margin && y > -margin && x < canvas.width + margin && y < canvas.height + margin;

    // A line over a wider one of the ground's colour, to be seen on dark and bright.
    function stroke(path, colour, width = 2) {
      context.strokeStyle = dark.matches ? "rgb(0 0 0 / .75)" : "rgb(255 255 255 / .85)";
      context.lineWidth = (width + 2) * ratio();
      context.stroke(path);
      context.strokeStyle = colour;
      context.lineWidth = width * ratio();
      context.stroke(path);
    }

    function drawRings() {
      const colour = dark.matches ? "#b8c0c8" : "#4d565f";
      context.font = `${13 * ratio()}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      for (const { d, lines } of frame.rings) {
        const path = new Path2D();
        let label = null;
        for (const line of lines) {
          line.forEach((point, number) => {
            const place = onScreen(...point);
            path[number ? "lineTo" : "moveTo"](...place);
            if (inSight(place, -26 * ratio()) && (!label || place[1] < label[1])) label = place;
          });
        }
        context.setLineDash([7 * ratio(), 5 * ratio()]);
        stroke(path, colour, 1);
        context.setLineDash([]);
        if (!label) continue;
        context.lineWidth = 4 * ratio();
        context.strokeStyle = dark.matches ? "#000" : "#fff";
        context.strokeText(`${d} Å`, ...label);
        context.fillStyle = dark.matches ? "#fff" : "#1b1f24";
        context.fillText(`${d} Å`, ...label);
      }
    }

    const markSize = () => Math.max(6 * ratio(), 3 * view.scale);

    function drawTrue() {
      const strong = new Path2D(), faint = new Path2D(), radius = markSize();
      frame.spots.fs.forEach((fs, number) => {
        const place = onScreen(fs, frame.spots.ss[number]);
        if (!inSight(place, radius)) return;
        const path = frame.spots.photons[number] < frame.min_photons ? faint : strong;
        path.moveTo(place[0] + radius, place[1]);
        path.arc(...place, radius, 0, 2 * Math.PI);
      });
      const colour = dark.matches ? "#56b4e9" : "#0072b2";
      stroke(strong, colour);
      context.setLineDash([2 * ratio(), 3 * ratio()]);
      stroke(faint, colour, 1);
      context.setLineDash([]);
    }

    function drawFound() {
      const path = new Path2D(), half = 2 * markSize(); // round the circle of a true spot
      for (const own of frame.peaks) {
        own.fs.forEach((fs, number) => {
          const [x, y] = onScreen(fs, own.ss[number]);
          if (!inSight([x, y], half)) return;
          path.moveTo(x, y - half);
          for (const [a, b] of [[half, 0], [0, half], [-half, 0]]) path.lineTo(x + a, y + b);
          path.closePath();
          if (own.matched[number]) return;
          for (const sign of [-1, 1]) {
            path.moveTo(x - half / 2, y - (sign * half) / 2);
            path.lineTo(x + half / 2, y + (sign * half) / 2);
          }
        });
      }
      stroke(path, dark.matches ? "#e69f00" : "#d55e00");
    }

    function drawCursor() {
      const path = new Path2D(), [x, y] = onScreen(cursor[0] + 0.5, cursor[1] + 0.5);
      const half = Math.max(view.scale / 2 + ratio(), 3 * ratio()), arm = half + 12 * ratio();
      path.rect(x - half, y - half, 2 * half, 2 * half);
      for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        path.moveTo(x + a * half, y + b * half);
        path.lineTo(x + a * arm, y + b * arm);
      }
      stroke(path, dark.matches ? "#fff" : "#000", 1.5);
    }

    return { paint, onScreen, markSize, ratio };
  };
})();
