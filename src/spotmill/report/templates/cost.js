// Fills the section "Cost" of the report. `spotmill cost` writes this file, and the call at its end,
// after the page: times are no part of what must have the same bytes.
var spotmill = window.spotmill || {};
window.spotmill = spotmill;

spotmill.cost = function (told) {
  document.addEventListener("DOMContentLoaded", function () {
    const section = document.getElementById("cost");
    section.querySelector(".told").innerHTML = told.html;
    const figure = document.getElementById("figure-cost");
    const place = figure.querySelector(".chart");
    if (!spotmill.draw) return;
    // Drawn when it is scrolled near, as the other charts are.
    const watcher = new IntersectionObserver(
      function (entries) {
        if (!entries.some((one) => one.isIntersecting)) return;
        watcher.disconnect();
        figure.classList.add("charted");
        spotmill
          .draw(place, told.chart)
          .then(() => place.classList.add("ready"))
          .catch(() => figure.classList.remove("charted"));
      },
      { rootMargin: "500px" },
    );
    watcher.observe(figure);
  });
};
