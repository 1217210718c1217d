"use strict";
(() => {
  // Cards on a page: they bound the DOM, whatever the number of images.
  const PER_PAGE = 48;
  const FEW = 6;
  const TONES = { SAVED: "ok", ACCEPTED: "info", SENDING: "info", PENDING: "mute", REFUSED: "bad", UNCERTAIN: "warn", EXPIRED: "bad" };
  const LABELS = { SAVED: "Saved", ACCEPTED: "Paid, not saved", SENDING: "Being sent", PENDING: "Not sent", REFUSED: "Refused", UNCERTAIN: "Uncertain", EXPIRED: "Expired" };
  const BILLED = { no: "No", maybe: "Maybe", yes: "Yes" };

  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const number = (n) => n.toLocaleString("en");
  const images = (n) => `${number(n)} ${n === 1 ? "image" : "images"}`;
  const label = (state) => LABELS[state] || state;
  const tone = (state) => TONES[state] || "mute";
  const clamp = (n, low, high) => Math.min(Math.max(n, low), high);
  const make = (name, text, kind) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const fill = (element, text) => { element.textContent = text || ""; element.hidden = !text; };

  for (const item of data.items) {
    item.options = item.o === undefined ? [] : data.options[item.o];
    const prompt = item.options.find(([name]) => name === "prompt");
    item.prompt = prompt ? prompt[1] : "";
    item.words = [item.name, item.source, item.state && label(item.state), item.error, item.id, ...item.options.map(([, value]) => value)]
      .filter(Boolean).join("\n").toLowerCase();
  }
  const states = Object.keys(LABELS).filter((state) => data.items.some((item) => item.state === state));
  const held = (state) => data.items.filter((item) => item.state === state).length;
  // What a ledger holds may be refused, and so no image at all.
  const items = (n) => states.length ? `${number(n)} ${n === 1 ? "input" : "inputs"}` : images(n);

  // ---- One comparison, on a card or large --------------------------------------------------

  const srcOf = (picture) => (picture && picture.src) || "";

  const ABSENT = {
    gone: "file is missing.",
    unreadable: "file cannot be read.",
    other: "file is no JPEG, PNG or WebP.",
    large: "file is too large to be part of this page.",
    broken: "file is missing or damaged, and cannot be shown.",
  };
  const NO_RESULT = {
    ACCEPTED: "The result is paid for, but not saved yet.",
    SENDING: "There is no result yet: it is being sent, or was interrupted in that.",
    PENDING: "There is no result yet: it has not been sent, or failed at no cost.",
    REFUSED: "There is no result: it was refused, and not billed.",
    UNCERTAIN: "There is no result, but it may have been billed.",
    EXPIRED: "The result was paid for, but has expired.",
  };

  function withheld(item) {
    const lost = item.images - item.after.length;
    if (item.after.length === 0) return "The result was withheld as unsafe.";
    return lost > 0 ? `${number(lost)} of ${images(item.images)} ${lost === 1 ? "was" : "were"} withheld as unsafe.` : "";
  }

  /** Why a picture is not shown, in sentences; often none. */
  function absence(item, chosen) {
    const after = item.after[chosen], said = [];
    if (after && after.absent) said.push(`The result's ${ABSENT[after.absent]}`);
    else if (!after && item.state && item.state !== "SAVED") said.push(NO_RESULT[item.state]);
    if (item.state === "SAVED") said.push(withheld(item));
    if (item.before && item.before.absent) said.push(`The original's ${ABSENT[item.before.absent]}`);
    return said.filter(Boolean).join(" ");
  }

  function compare(item, chosen, eager, changed) {
    const tile = by("t-compare").content.firstElementChild.cloneNode(true);
    const find = (name) => tile.querySelector(name);
    const stage = find(".stage"), slide = find(".slide");
    const after = item.after[chosen];
    const parts = [
      { image: find(".before"), picture: item.before, src: srcOf(item.before), alt: `Before: ${item.name}` },
      { image: find(".after"), picture: after, src: srcOf(after), alt: `After: ${item.name}${item.prompt ? `, ${item.prompt}` : ""}` },
    ];
    const settle = () => {
      const shown = parts.filter((part) => part.src);
      stage.classList.toggle("pair", shown.length === 2);
      for (const name of [".slide", ".line"]) find(name).hidden = shown.length < 2;
      find(".tag.left").hidden = !parts[0].src;
      find(".tag.right").hidden = !parts[1].src;
      stage.hidden = !shown.length;
      find(".none").hidden = shown.length > 0;
      for (const part of parts) part.image.hidden = !part.src;
      find(".none p").textContent = absence(item, chosen) || "There is no picture to show.";
    };
    const fit = () => {
      const [before, result] = parts.map(({ image }) => image.naturalWidth && image.naturalWidth / image.naturalHeight);
      const ratio = (parts[1].src && result) || before;
      if (!ratio) return;
      stage.style.setProperty("--ratio", ratio);
      stage.classList.add("known");
      // Results are rounded to sizes the gateway knows: a sliver is cut off, a real difference shown.
      parts[0].image.classList.toggle("loose", Math.abs(before / ratio - 1) > 0.03);
    };
    for (const part of parts) {
      part.image.alt = part.alt;
      part.image.addEventListener("load", fit);
      part.image.addEventListener("error", () => {
        if (!part.src) return;
        part.src = part.picture.src = "";
        part.picture.absent = "broken";
        settle();
        if (changed) changed();
      });
      part.image.loading = eager ? "eager" : "lazy";
      if (part.src) part.image.src = part.src;
    }
    slide.setAttribute("aria-label", `Compare before and after: ${item.name}`);
    const move = () => {
      const at = Number(slide.value);
      stage.style.setProperty("--at", `${at}%`);
      stage.classList.toggle("all-after", at < 22);
      stage.classList.toggle("all-before", at > 78);
      slide.setAttribute("aria-valuetext", `${at} % before, ${100 - at} % after`);
    };
    // Some touch screens drag a range only by its thumb, which here is as thin as a line.
    const drag = (event) => {
      if (!event.buttons) return;
      const box = slide.getBoundingClientRect();
      slide.value = clamp(100 * (event.clientX - box.left) / box.width, 0, 100);
      move();
    };
    slide.addEventListener("input", move);
    slide.addEventListener("pointerdown", drag);
    slide.addEventListener("pointermove", drag);
    move();
    settle();
    return tile;
  }

  function variants(box, item, chosen, choose) {
    box.hidden = item.after.length < 2;
    box.setAttribute("aria-label", `Results of ${item.name}`);
    box.replaceChildren(...(box.hidden ? [] : item.after.map((_, index) => {
      const button = make("button", String(index + 1));
      button.type = "button";
      button.setAttribute("aria-label", `Result ${index + 1}`);
      button.setAttribute("aria-pressed", String(index === chosen));
      button.addEventListener("click", () => {
        for (const other of box.children) other.setAttribute("aria-pressed", String(other === button));
        choose(index);
      });
      return button;
    })));
  }

  // ---- Cards -------------------------------------------------------------------------------

  function card(item) {
    const element = by("t-card").content.firstElementChild.cloneNode(true);
    const find = (name) => element.querySelector(name);
    const show = (chosen) => {
      const note = () => {
        const partly = srcOf(item.before) || srcOf(item.after[chosen]);
        fill(find(".note"), partly && absence(item, chosen));
      };
      find(".place").replaceChildren(compare(item, chosen, false, note));
      note();
    };
    find(".name").textContent = item.name;
    find(".card").classList.add(tone(item.state));
    find(".badge").hidden = !item.state;
    find(".badge").textContent = item.state ? label(item.state) : "";
    find(".prompt").textContent = item.prompt;
    fill(find(".error"), item.error);
    find(".large").setAttribute("aria-label", `Show ${item.name} large, with details`);
    find(".large").addEventListener("click", () => open(found.indexOf(item)));
    variants(find(".variants"), item, 0, show);
    show(0);
    return element;
  }

  // ---- What is shown: a state, words, a page; kept in the address ----------------------------

  const wish = { state: "", words: "", page: 1 };
  let found = data.items;

  function remember() {
    const parts = new URLSearchParams();
    if (wish.state) parts.set("state", wish.state);
    if (wish.words) parts.set("find", wish.words);
    if (wish.page > 1) parts.set("page", wish.page);
    const address = parts.toString();
    if (address === location.hash.slice(1)) return;
    try { history.replaceState(null, "", `#${address}`); } catch { /* not where pages have no address */ }
  }

  function recall() {
    const parts = new URLSearchParams(location.hash.slice(1));
    wish.state = states.includes(parts.get("state")) ? parts.get("state") : "";
    wish.words = parts.get("find") || "";
    wish.page = Number(parts.get("page")) || 1;
    by("find").value = wish.words;
    for (const radio of by("chips").querySelectorAll("input")) {
      radio.checked = radio.value === wish.state;
      // On a phone, chips lie side by side beyond the screen.
      if (radio.checked) by("chips").scrollLeft = radio.nextSibling.offsetLeft - by("chips").offsetLeft - 16;
    }
  }

  function render() {
    const words = wish.words.toLowerCase().split(/\s+/).filter(Boolean);
    found = data.items.filter((item) =>
      (!wish.state || item.state === wish.state) && words.every((word) => item.words.includes(word)));
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    wish.page = clamp(Math.trunc(wish.page), 1, pages);
    const start = (wish.page - 1) * PER_PAGE;
    const shown = found.slice(start, start + PER_PAGE);
    by("grid").classList.toggle("few", data.items.length <= FEW);
    by("grid").replaceChildren(...shown.map(card));
    by("empty").hidden = found.length > 0;
    const range = pages > 1 ? `${number(start + 1)}–${number(start + shown.length)} of ` : "";
    const all = found.length < data.items.length ? ` (of ${number(data.items.length)})` : "";
    by("count").textContent = found.length ? `${range}${items(found.length)}${all}` : "None";
    by("shown").textContent = wish.state ? label(wish.state) : "All";
    by("pager").hidden = pages < 2;
    if (by("page").length !== pages) {
      by("page").replaceChildren(...Array.from({ length: pages }, (_, index) => make("option", String(index + 1))));
    }
    by("page").value = String(wish.page);
    by("pages").textContent = number(pages);
    by("earlier").disabled = wish.page === 1;
    by("later").disabled = wish.page === pages;
    remember();
  }

  function turn(page) {
    wish.page = page;
    render();
    by("shown").scrollIntoView({ block: "start" });
    by("shown").focus({ preventScroll: true });
  }

  function chip(state, text, amount) {
    const radio = make("input"), name = make("label", text, state ? tone(state) : "any");
    radio.type = "radio";
    radio.name = "state";
    radio.value = state;
    radio.id = `s-${state || "all"}`;
    name.htmlFor = radio.id;
    name.append(" ", make("b", number(amount)));
    radio.addEventListener("change", () => { wish.state = state; wish.page = 1; render(); });
    by("chips").append(radio, name);
  }

  // ---- One image, large ----------------------------------------------------------------------

  let at = -1;

  function facts(item) {
    const many = item.after.length > 1;
    return [
      ["State", item.state && label(item.state)],
      ["Billed", item.billed && `${BILLED[item.billed]}${item.images > 1 ? `, ${item.images} images` : ""}`],
      ...item.options.map(([name, value]) => [name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " "), value]),
      ["Attempts", item.attempts > 1 && String(item.attempts)],
      ["Last change", item.updated && item.updated.replace("T", " ").replace(/\.\d+/, "").replace("+00:00", " UTC")],
      ["Original", item.source, "code"],
      ...item.after.map(({ path }, index) => [many ? `Result ${index + 1}` : "Result", path, "code"]),
      ["Request ID", item.id, "code"],
    ].filter(([, value]) => value);
  }

  function open(index) {
    at = index;
    const item = found[at];
    by("v-name").textContent = item.name;
    by("v-place").textContent = `${number(at + 1)} of ${items(found.length)}`;
    by("v-back").disabled = at === 0;
    by("v-on").disabled = at === found.length - 1;
    const show = (chosen) => by("v-stage").replaceChildren(compare(item, chosen, true));
    variants(by("v-variants"), item, 0, show);
    show(0);
    by("v-error").className = `error ${tone(item.state)}`;
    fill(by("v-error"), item.error);
    by("v-facts").replaceChildren(...facts(item).map(([name, value, kind]) => {
      const pair = make("div");
      pair.append(make("dt", name), make("dd", value, kind));
      return pair;
    }));
    if (!by("view").open) by("view").showModal();
    by("v-name").focus();
  }

  function step(way) { if (found[at + way]) open(at + way); }

  by("v-back").addEventListener("click", () => step(-1));
  by("v-on").addEventListener("click", () => step(1));
  by("v-close").addEventListener("click", () => by("view").close());
  by("view").addEventListener("keydown", (event) => {
    if (event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
    const ways = { ArrowLeft: -1, ArrowRight: 1 };
    if (!ways[event.key]) return;
    event.preventDefault();
    step(ways[event.key]);
  });
  by("view").addEventListener("close", () => {
    const page = Math.floor(at / PER_PAGE) + 1;
    if (page !== wish.page) { wish.page = page; render(); }
    const origin = by("grid").children[at % PER_PAGE];
    by("v-stage").replaceChildren();
    if (!origin) return;
    origin.scrollIntoView({ block: "nearest" });
    origin.querySelector(".large").focus({ preventScroll: true });
  });

  // ---- The page --------------------------------------------------------------------------------

  by("title").textContent = data.title;
  const undecided = held("UNCERTAIN") + held("EXPIRED");
  const saved = data.items.filter((item) => item.state === "SAVED").flatMap((item) => item.after);
  by("lead").textContent = [
    items(data.items.length),
    states.length && `${number(held("SAVED"))} saved (${images(saved.length)})`,
    held("REFUSED") && `${number(held("REFUSED"))} refused`,
    undecided && `${number(undecided)} ${undecided === 1 ? "needs" : "need"} your decision`,
  ].filter(Boolean).join(" · ");
  by("foot").textContent = data.foot;
  if (states.length > 1) {
    chip("", "All", data.items.length);
    for (const state of states) {
      chip(state, label(state), held(state));
      const part = make("i", undefined, tone(state));
      part.style.flexGrow = held(state);
      by("share").append(part);
    }
  } else {
    by("chips").hidden = by("share").hidden = true;
  }
  let pause = 0;
  by("find").addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => { wish.words = by("find").value.trim(); wish.page = 1; render(); }, 120);
  });
  by("bar").addEventListener("submit", (event) => event.preventDefault());
  by("all").addEventListener("click", () => { location.hash = ""; recall(); render(); by("find").focus(); });
  by("earlier").addEventListener("click", () => turn(wish.page - 1));
  by("later").addEventListener("click", () => turn(wish.page + 1));
  by("page").addEventListener("change", () => turn(Number(by("page").value)));
  addEventListener("hashchange", () => { recall(); render(); });
  by("bar").hidden = data.items.length < 2;
  recall();
  render();
})();
