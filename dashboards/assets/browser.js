// What only the browser can do: the colour scheme, the address, the document's title, and how the grid writes a value.
(function () {
  "use strict";
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let choice = "auto";

  function apply() {
    const dark = choice === "dark" || (choice === "auto" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    document.documentElement.dataset.agThemeMode = dark ? "dark" : "light";
    return dark;
  }

  system.addEventListener("change", function () {
    if (choice === "auto") {
      window.dash_clientside.set_props("dark", { data: apply() });
    }
  });
  apply();

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    ablate: {
      theme: function (wanted) {
        choice = wanted;
        return apply();
      },

      // Writes the controls into the query, so that the address holds the whole view.
      remember: function () {
        const query = new URLSearchParams(window.location.search);
        for (const control of window.dash_clientside.callback_context.inputs_list) {
          const key = control.id.slice(control.id.indexOf("-") + 1);
          query.delete(key);
          for (const value of [].concat(control.value === undefined || control.value === null ? [] : control.value)) {
            query.append(key, value);
          }
        }
        window.history.replaceState(window.history.state, "", "?" + query.toString());
      },

      // A new figure of the same view shows the range that a person zoomed to in the old one.
      keepView: function (made, shown) {
        const before = (shown && shown.layout) || {};
        if (!made || !made.layout || !before.uirevision || before.uirevision !== made.layout.uirevision) {
          return made;
        }
        const layout = Object.assign({}, made.layout);
        for (const axis of Object.keys(before).filter((key) => /^[xy]axis/.test(key))) {
          if (before[axis].autorange === false && before[axis].range && layout[axis]) {
            layout[axis] = Object.assign({}, layout[axis], { autorange: false, range: before[axis].range });
          }
        }
        return Object.assign({}, made, { layout: layout });
      },

      title: function (path) {
        const names = path.split("/").filter(Boolean).slice(1);
        try {
          document.title = ["ablate"].concat(names.map(decodeURIComponent)).join(" · ");
        } catch (error) {
          document.title = "ablate"; // not an encoded name
        }
      },
    },
  });

  window.dashAgGridFunctions = Object.assign({}, window.dashAgGridFunctions, {
    shown: function (value) {
      if (value === null || value === undefined) {
        return "–";
      }
      if (typeof value !== "number") {
        return String(value);
      }
      const plain = Number.isInteger(value) || Math.abs(value) < 0.001 || Math.abs(value) >= 100000;
      return (plain ? String(Number(value.toPrecision(5))) : value.toPrecision(5)).replace("-", "−");
    },
  });
})();
