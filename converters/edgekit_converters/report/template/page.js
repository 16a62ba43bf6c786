"use strict";
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");  // what is focused says the same through its label
  document.body.append(tip);
  const parts = [...document.querySelectorAll("[data-key]")];
  const light = key => parts.forEach(part => part.classList.toggle("lit", part.dataset.key === key));
  const hide = () => { tip.hidden = true; light(null); };

  const show = mark => {
    light(mark.dataset.key);
    tip.replaceChildren(...mark.dataset.tip.split("\n").map(line => {
      const row = document.createElement("div");
      row.textContent = line;
      return row;
    }));
    tip.hidden = false;
    const at = mark.querySelector(".shape").getBoundingClientRect();
    const wide = document.documentElement.clientWidth;
    const left = Math.min(Math.max(8, at.left + at.width / 2 - tip.offsetWidth / 2), wide - tip.offsetWidth - 8);
    const above = at.top - tip.offsetHeight - 10;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above < 4 ? at.bottom + 10 : above) + scrollY}px`;
  };

  for (const chart of document.querySelectorAll(".chart")) {
    const title = chart.querySelector("title");
    chart.setAttribute("aria-label", title.textContent);
    chart.removeAttribute("aria-labelledby");
    title.remove();  // browsers show it as a tip of their own
    const marks = [...chart.querySelectorAll("[data-tip]")].sort((a, b) => a.dataset.place - b.dataset.place || 0);
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
    marks.forEach((mark, place) => {
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", mark.dataset.tip.replaceAll("\n", ", "));
      mark.setAttribute("tabindex", place ? "-1" : "0");
      mark.addEventListener("pointerenter", () => show(mark));
      mark.addEventListener("pointerleave", hide);
      mark.addEventListener("focus", () => show(mark));
      mark.addEventListener("blur", hide);
      mark.addEventListener("keydown", event => {
        let next = place + (step[event.key] ?? 0);
        if (event.key === "Home") next = 0;
        if (event.key === "End") next = marks.length - 1;
        if (event.key === "Escape") hide();
        if (next === place || !marks[next]) return;
        event.preventDefault();
        mark.setAttribute("tabindex", "-1");
        marks[next].setAttribute("tabindex", "0");
        marks[next].focus({preventScroll: true});
      });
    });
  }
  for (const row of document.querySelectorAll("tr[data-key]")) {
    row.addEventListener("pointerenter", () => light(row.dataset.key));
    row.addEventListener("pointerleave", () => light(null));
  }
  for (const chooser of document.querySelectorAll(".switch")) {
    const choose = () => {
      for (const input of chooser.querySelectorAll("input"))
        document.getElementById(input.value).hidden = !input.checked;
    };
    chooser.addEventListener("change", choose);
    chooser.hidden = false;
    choose();
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));
})();
