"use strict";
// The slides: reveal.js with its window for the speaker, the book's two colour schemes, and print.
{
  const root = document.documentElement;

  /** A live figure has the colours of the slide that it is on. */
  function tint(frame) {
    for (const name of ["src", "data-src"]) {
      const address = frame.getAttribute(name);
      if (address) frame.setAttribute(name, address.replace(/\?(theme=\w+&)?slide/, `?theme=${root.dataset.theme}&slide`));
    }
  }

  function colours() {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("scheme", root.dataset.theme); } catch { /* storage is switched off */ }
    document.querySelectorAll("iframe.live").forEach(tint);
  }

  function print() {
    const address = new URL(location.href);
    address.search = "?print-pdf";
    address.hash = "";
    window.open(address.href);
  }

  document.querySelectorAll("iframe.live").forEach(tint);
  Reveal.initialize({
    width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: "c/t", transition: "none", backgroundTransition: "none",
    pdfSeparateFragments: false, plugins: [RevealNotes],
  }).then(() => {
    Reveal.addKeyBinding({ keyCode: 68, key: "D", description: "Light or dark" }, colours);
    Reveal.addKeyBinding({ keyCode: 80, key: "P", description: "Print, or save as PDF" }, print);
    const printing = location.search.includes("print-pdf");
    if (printing) root.dataset.theme = "light";
  });
}
