
"use strict";
// Everything on the page is there without this: it finds words, and opens what is folded where there is room or paper.
(() => {
  // It stops looking after so many hits.
  const MOST_HITS = 5000;
  // Characters of a block that are looked at together.
  const LONG_BLOCK = 256 * 1024;
  // Milliseconds that it works before the browser gets its turn.
  const STRETCH = 12;

  const main = document.querySelector("main");
  const box = document.querySelector(".find");
  const input = box.querySelector("input");
  const told = box.querySelector("span");
  const canPaint = "highlights" in CSS && typeof Highlight === "function";
  let hits = [];
  let now = -1;
  let search = 0;
  // What stands in one of them is one text, whatever elements are in it.
  const BLOCKS = "p, li, td, th, pre, h2, h4, h5, h6, summary, figcaption, dd, dt";

  const rest = () => new Promise((resolve) => setTimeout(resolve));

  function* blocks() {
    const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
    let block = null;
    let nodes = [];
    let length = 0;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const its = node.parentElement.closest(BLOCKS);
      if (its !== block || its === null || length > LONG_BLOCK) {
        if (nodes.length) yield nodes;
        nodes = [];
        length = 0;
        block = its;
      }
      nodes.push(node);
      length += node.length;
    }
    if (nodes.length) yield nodes;
  }

  const folded = (text) => {
    const lower = text.toLowerCase();
    // A few letters become two, and places would not be those of the text any more.
    return lower.length === text.length ? lower : text;
  };

  function rangesIn(nodes, words) {
    const text = folded(nodes.length === 1 ? nodes[0].data : nodes.map((node) => node.data).join(""));
    const found = [];
    let index = 0;
    let before = 0;
    const point = (place, isEnd) => {
      while (place - before > nodes[index].length || (!isEnd && place - before === nodes[index].length)) {
        before += nodes[index].length;
        index += 1;
      }
      return [nodes[index], place - before];
    };
    for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
      const range = document.createRange();
      range.setStart(...point(at, false));
      range.setEnd(...point(at + words.length, true));
      found.push(range);
    }
    return found;
  }

  function clear() {
    hits = [];
    now = -1;
    if (canPaint) {
      CSS.highlights.delete("hits");
      CSS.highlights.delete("hit");
    } else {
      getSelection().removeAllRanges();
    }
    told.textContent = "";
  }

  async function find() {
    const mine = ++search;
    const words = folded(input.value);
    clear();
    if (!words.trim()) return;
    let last = performance.now();
    const found = [];
    for (const nodes of blocks()) {
      found.push(...rangesIn(nodes, words).slice(0, MOST_HITS - found.length));
      if (found.length === MOST_HITS) break;
      if (performance.now() - last > STRETCH) {
        told.textContent = `${found.length} …`;
        await rest();
        if (mine !== search) return;
        last = performance.now();
      }
    }
    hits = found;
    if (canPaint) CSS.highlights.set("hits", new Highlight(...hits));
    if (hits.length) go(1);
    else told.textContent = "None";
  }

  function go(step) {
    if (!hits.length) return;
    now = (now + step + hits.length) % hits.length;
    const range = hits[now];
    told.textContent = `${now + 1} of ${hits.length}${hits.length === MOST_HITS ? "+" : ""}`;
    const element = range.startContainer.parentElement;
    for (let fold = element.closest("details"); fold; fold = fold.parentElement.closest("details")) {
      if (!element.closest("summary") || element.closest("summary").parentElement !== fold) fold.open = true;
    }
    if (canPaint) {
      const highlight = new Highlight(range);
      highlight.priority = 1;
      CSS.highlights.set("hit", highlight);
    } else {
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    }
    element.scrollIntoView({ block: "center", behavior: "instant" });
  }

  let wait = 0;
  input.addEventListener("input", () => {
    clearTimeout(wait);
    search += 1;
    wait = setTimeout(find, 150);
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault();
      go(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      input.value = "";
      search += 1;
      clear();
    }
  });
  box.querySelector(".next").addEventListener("click", () => go(1));
  box.querySelector(".previous").addEventListener("click", () => go(-1));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target === input) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
  box.hidden = false;

  // The index is open where it has a column of its own, and shows which round is being read.
  const index = document.querySelector("#index details");
  const isWide = matchMedia("(min-width: 70rem)");
  const fit = () => { index.open = isWide.matches; };
  isWide.addEventListener("change", fit);
  fit();
  const links = new Map([...index.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  let here = null;
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      if (here) here.classList.remove("here");
      here = links.get(entry.target.id);
      here.classList.add("here");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const round of main.querySelectorAll(".round")) watcher.observe(round);

  // Paper cannot be unfolded.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
    opened = [];
  });
})();
