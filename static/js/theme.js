// Loaded in the head before anything is drawn: applies the colour scheme the viewer chose.
(() => {
  "use strict";
  const KEY = "tapedeck-theme";
  const root = document.documentElement;

  function chosen() {
    try {
      const theme = localStorage.getItem(KEY);
      return theme === "light" || theme === "dark" ? theme : "auto";
    } catch {
      return "auto"; // storage may be forbidden
    }
  }

  function apply(theme) {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  function keep(theme) {
    try {
      if (theme === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // the choice then lasts for this page only
    }
  }

  function label(button) {
    button.querySelector("[data-theme-name]").textContent = root.dataset.theme ?? "auto";
  }

  apply(chosen());
  root.classList.add("scripted");

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-toggle]");
    if (!button) return;
    const order = ["auto", "light", "dark"];
    label(button);
    button.addEventListener("click", () => {
      const next = order[(order.indexOf(root.dataset.theme ?? "auto") + 1) % order.length];
      apply(next);
      keep(next);
      label(button);
      document.dispatchEvent(new CustomEvent("theme-changed"));
    });
  });
  window.addEventListener("storage", (event) => {
    if (event.key === KEY) apply(chosen());
  });
})();
