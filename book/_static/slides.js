"use strict";
// The slides: reveal.js with its window for the speaker, the book's two colour schemes, and print.
{
  const root = document.documentElement;
  const say = (text) => globalThis.bookWords?.[text] ?? text; // words-slides.js of the Chinese site
  // What reveal.js says by itself, in its list of keys, on its buttons and in the window for the speaker.
  const OWN = [
    "Keyboard Shortcuts", "KEY", "ACTION", "Next slide", "Previous slide", "Navigate left", "Navigate right", "Navigate up",
    "Navigate down", "Navigate without fragments", "Jump to first/last slide", "Pause", "Fullscreen", "Jump to slide",
    "Slide overview", "Speaker notes view", "next slide", "previous slide", "reveal.js - Speaker View", "Upcoming", "Time",
    "Click to Reset", "Notes", "Layout: Default", "Layout: Wide", "Layout: Tall", "Layout: Notes only", "Default", "Wide", "Tall",
    "Notes only",
  ];

  /** Say in the reader's language what reveal.js says in an element, now and whenever it says more. */
  function translate(element) {
    const told = () => {
      const texts = element.ownerDocument.createTreeWalker(element, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const text = texts.currentNode, said = text.data.trim();
        if (OWN.includes(said)) text.data = text.data.replace(said, say(said));
      }
    };
    told();
    new MutationObserver(told).observe(element, { childList: true, subtree: true });
  }

  function translateAll() {
    document.querySelectorAll(".controls [aria-label]").forEach((button) => button.setAttribute("aria-label", say(button.ariaLabel)));
    new MutationObserver(() => document.querySelectorAll(".r-overlay-help").forEach(translate)).observe(Reveal.getRevealElement(), { childList: true });
    const open = window.open.bind(window);
    window.open = (...given) => {
      const opened = open(...given);
      if (opened && given[1] === "reveal.js - Notes") setTimeout(() => { // when the page is written into it
        opened.document.documentElement.lang = root.lang;
        translate(opened.document.documentElement);
      });
      return opened;
    };
  }

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
    if (globalThis.bookWords) translateAll();
    Reveal.addKeyBinding({ keyCode: 68, key: "D", description: say("Light or dark") }, colours);
    Reveal.addKeyBinding({ keyCode: 80, key: "P", description: say("Print, or save as PDF") }, print);
    const printing = location.search.includes("print-pdf");
    if (printing) root.dataset.theme = "light";
  });
}
