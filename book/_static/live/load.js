/* Loads what the figures of a page need once one of them is near, in the order of the list that this script's tag carries.
   Until then they stand there as they were built. */
"use strict";

(() => {
  const own = document.currentScript, figures = document.querySelectorAll(".live-figure, .explore");
  let asked = false;
  function load() {
    if (asked) return;
    asked = true;
    for (const path of own.dataset.scripts.split(" ")) {
      const script = document.createElement("script");
      script.async = false; // in their order
      script.src = new URL(`../${path}`, own.src).href;
      document.head.append(script);
    }
  }
  const near = (figure) => { const { top, bottom } = figure.getBoundingClientRect(); return top < innerHeight + 1000 && bottom > -1000; };
  if ([...figures].some(near)) return load();
  const watch = new IntersectionObserver((seen) => { if (seen.some((each) => each.isIntersecting)) load(); }, { rootMargin: "1000px" });
  figures.forEach((figure) => watch.observe(figure));
  addEventListener("beforeprint", load);
})();
