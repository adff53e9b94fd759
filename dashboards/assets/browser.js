// What only the browser can do: the colour scheme, the address, the document's title, and how the grid writes a value.
(function () {
  "use strict";
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let choice = "auto";
  const HANGS = 30000; // milliseconds after which a look without an answer is given up
  let leaving = false;
  let looking = false;

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

  // Dash's sliders have no way to be named but this: their thumb takes the label beside it.
  document.addEventListener("focusin", function (event) {
    const label = event.target.getAttribute("role") === "slider" && event.target.closest(".control")?.querySelector("label");
    if (label) {
      event.target.setAttribute("aria-label", label.textContent);
    }
  });

  // The value at which a path ends, made in the copy that `top` is: what is on the way is copied, the rest stays what it was.
  function placed(top, path, change) {
    if (path.length === 0) {
      return change(top);
    }
    const copy = Array.isArray(top) ? top.slice() : Object.assign({}, top);
    copy[path[0]] = placed(copy[path[0]], path.slice(1), change);
    return copy;
  }

  // What `changes` in dashboards/changes.py tells apart.
  function changed(value, changes) {
    for (const [what, path, part] of changes) {
      if (what === "set") {
        value = placed(value, path, () => part);
      } else if (what === "append") {
        value = placed(value, path, (list) => list.concat(part));
      } else {
        const key = path[path.length - 1];
        value = placed(value, path.slice(0, -1), (object) => {
          const copy = Object.assign({}, object);
          delete copy[key];
          return copy;
        });
      }
    }
    return value;
  }

  // A new figure of the same view shows the range that a person zoomed to in the old one.
  function keptView(made, shown) {
    const before = (shown && shown.layout) || {};
    if (!made.layout || !before.uirevision || before.uirevision !== made.layout.uirevision) {
      return made;
    }
    const layout = Object.assign({}, made.layout);
    for (const axis of Object.keys(before).filter((key) => /^[xy]axis/.test(key))) {
      if (before[axis].autorange === false && before[axis].range && layout[axis]) {
        layout[axis] = Object.assign({}, layout[axis], { autorange: false, range: before[axis].range });
      }
    }
    return Object.assign({}, made, { layout: layout });
  }

  // Cards that are near the window are asked for what the page has seen, the others when they come near: `card_in_sight` in widgets.py.
  let seen = null;
  let points = 0;
  const near = new Set();
  const watched = new WeakSet();
  const given = new WeakMap(); // card -> what it was asked for last
  const sight = new IntersectionObserver(
    function (entries) {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          near.add(entry.target);
          give(entry.target);
        } else {
          near.delete(entry.target);
        }
      }
    },
    { rootMargin: "120px" },
  );

  function give(card) {
    if (!card.isConnected) {
      near.delete(card);
    } else if (seen && seen.shown && seen.path === window.location.pathname) {
      const wanted = card.dataset.grows ? Object.assign({}, seen, { points: points }) : seen;
      if (!same(given.get(card), wanted)) {
        given.set(card, wanted);
        window.dash_clientside.set_props(card.dataset.seen, { data: wanted });
      }
    }
  }

  function watchCards() {
    for (const card of document.querySelectorAll("[data-seen]")) {
      if (!watched.has(card)) {
        watched.add(card);
        sight.observe(card);
      }
    }
  }

  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const figures = {}; // name of an answer -> the figure, the last few
  const nothing = () => window.dash_clientside.no_update;

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    ablate: {
      // Asks whether there is news of the page, one question at a time; a page that nobody sees does not ask.
      look: async function (_ticks, path, seen, points, outage) {
        const quiet = [nothing(), nothing(), nothing(), nothing()];
        watchCards();
        if (looking || document.hidden || !seen || seen.path !== path) {
          return quiet;
        }
        let found;
        looking = true;
        try {
          const answer = await fetch("/_live?path=" + encodeURIComponent(path), { signal: AbortSignal.timeout(HANGS) });
          if (answer.redirected || answer.status === 401 || answer.status === 403) {
            if (!leaving) {
              leaving = true; // a look a second would begin the reload anew
              window.location.reload(); // what let this page in is not valid any more: the server asks for the token
            }
          }
          if (!answer.ok) {
            return quiet;
          }
          found = await answer.json();
        } catch (error) {
          found = { away: "The dashboard does not answer." };
        } finally {
          looking = false;
        }
        if (window.location.pathname !== path) {
          return quiet; // the viewer has gone to another page, whose `seen` this must not replace
        }
        if (found.away !== undefined) {
          const said = found.away + "\nThis page goes on looking.";
          return [nothing(), nothing(), nothing(), !seen.shown || said === outage ? nothing() : said];
        }
        const isNew = !same(found.version, seen.version);
        return [
          isNew && seen.shown ? Object.assign({}, seen, { version: found.version }) : nothing(),
          found.points === points ? nothing() : found.points,
          isNew && !seen.shown ? found.version : nothing(),
          outage ? "" : nothing(),
        ];
      },

      sight: function (pageSeen, pagePoints) {
        [seen, points] = [pageSeen, pagePoints];
        near.forEach(give);
        setTimeout(watchCards); // once the page is there
        return nothing();
      },

      // News and another page have answers of their own: what failed before is not said any more.
      forget: () => "",

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

      // An answer of `Sent.figure`: the figure, the name by which the next answer starts from it, and room for it: plotly draws a figure
      // that was hidden at first at its own height without taking the place.
      figure: function (answer, shown) {
        if (!answer) {
          return [nothing(), nothing(), nothing()];
        }
        const base = answer.base === undefined ? null : figures[answer.base];
        if (base === undefined) {
          return [nothing(), null, nothing()]; // not here any more: the next answer is whole
        }
        const made = base === null ? answer.value : changed(base, answer.changes);
        figures[answer.id] = made;
        for (const old of Object.keys(figures).slice(0, -32)) {
          delete figures[old];
        }
        const height = made.layout && made.layout.height;
        return [keptView(made, shown), answer.id, height ? { height: height + "px" } : nothing()];
      },

      // An answer of `Sent.rows`: columns, all rows or a transaction of the grid, and the answer's name.
      rows: function (answer) {
        if (!answer) {
          return [nothing(), nothing(), nothing(), nothing()];
        }
        if (answer.base === undefined) {
          return [answer.columns, answer.rows, nothing(), answer.id];
        }
        const change = { add: answer.add, update: answer.update, remove: answer.remove };
        return [nothing(), nothing(), change, answer.id];
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
    // Tab leaves the table, however many cells it has; arrows move within it.
    leave: () => false,
    // As it was declared: 0.001 is not 0.0010000.
    level: (value) => (value === null || value === undefined ? "–" : String(value).replace(/^-|(?<=e)-/, "−")),
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
