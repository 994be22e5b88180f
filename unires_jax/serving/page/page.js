// What moves on the page. Each function is given the element of one of the templates,
// and gradio's ways to raise an event, to upload a file and to see a new value.
window.unires = (() => {
  const small = matchMedia("(max-width: 760px)");
  const touch = matchMedia("(hover: none) and (pointer: coarse)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  const bringIntoView = (element) => {
    const { top } = element.getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2)
      element.scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
  };

  // A picture is chosen, dropped or pasted anywhere, and uploaded.
  const picker = (element, trigger, upload) => {
    const root = element.querySelector(".picker");
    const button = root.querySelector(".choose");
    const label = root.querySelector(".label");
    const input = root.querySelector("input");
    const alert = root.querySelector(".alert");
    const idle = label.textContent;

    const send = async (file) => {
      const limit = Number(root.dataset.bytes), megabyte = 1 << 20;
      alert.textContent = "";
      if (file.size > limit) {
        const size = (file.size / megabyte).toPrecision(3);
        alert.textContent = `This file has ${size} MB, more than the maximum of ` +
          `${Number((limit / megabyte).toPrecision(3))} MB.`;
        return;
      }
      label.textContent = "Uploading …";
      button.disabled = true;
      try {
        const { path } = await upload(file);
        document.dispatchEvent(new Event("unires:own-picture"));
        trigger("upload", { path });
      } catch {
        alert.textContent = "The picture could not be uploaded. Try it again in a minute.";
      } finally {
        label.textContent = idle;
        button.disabled = false;
      }
    };
    const sendFirst = (files) => {
      if (files.length) send(files[0]);
    };

    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      sendFirst([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
    document.addEventListener("paste", (event) => sendFirst([...event.clipboardData.files]));
    const dragging = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!dragging(event)) return;
      event.preventDefault();
      root.classList.add("over");
    });
    for (const end of ["dragleave", "drop"])
      document.addEventListener(end, () => root.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      if (!dragging(event)) return;
      event.preventDefault();
      sendFirst([...event.dataTransfer.files]);
    });
  };

  // The examples, and which of their sentences are asked.
  const shelf = (element, trigger) => {
    const pressed = (button, value) => button.setAttribute("aria-pressed", value);
    const isPressed = (button) => button.getAttribute("aria-pressed") === "true";
    const examples = [...element.querySelectorAll(".example")];
    const levels = [...element.querySelectorAll("[data-parts]")];
    const choose = (buttons, chosen) => buttons.forEach((x) => pressed(x, x === chosen));
    const ask = () => {
      const example = examples.find(isPressed), level = levels.find(isPressed);
      if (!example) return;
      const parts = level.dataset.parts === "true";
      trigger("select", { example: Number(example.dataset.example), parts });
    };
    for (const buttons of [examples, levels])
      for (const button of buttons)
        button.addEventListener("click", () => {
          choose(buttons, button);
          ask();
        });
    document.addEventListener("unires:own-picture", () => choose(examples, null));
  };

  // The result of each model: masks alone or hidden, the enlarged picture, downloads.
  const answers = (element, trigger, upload, watch) => {
    let states = new Map(); // by the answers' key: rows hidden, alone, pointed at
    const roots = () => [...element.querySelectorAll(".answers")];
    const stateOf = (root) => states.get(root.dataset.key);
    const rowOf = (target) => target.closest?.("tr[data-row]")?.dataset.row;
    const drawn = (root, row) => row && root.querySelector(`.mask[data-row="${row}"]`);

    const draw = (root) => {
      const { hidden, alone, previewed } = stateOf(root);
      const only = previewed ?? alone;
      const off = (row) => (only === undefined ? hidden.has(row) : row !== only);
      for (const mask of root.querySelectorAll(".mask"))
        mask.classList.toggle("off", off(mask.dataset.row));
      for (const row of root.querySelectorAll("tr[data-row]:not(.absent)")) {
        const number = row.dataset.row;
        row.querySelector(".eye").setAttribute("aria-pressed", !hidden.has(number));
        row.querySelector(".alone").setAttribute("aria-pressed", number === alone);
      }
      const link = root.querySelector("a.overlay");
      if (!link) return;
      const lasting = (row) => (alone === undefined ? hidden.has(row) : row !== alone);
      const address = new URL(link.href);
      const rows = [...root.querySelectorAll(".mask")].map((x) => x.dataset.row);
      address.searchParams.set("hidden", rows.filter(lasting).join());
      link.href = address.href;
    };

    // Whether any answers are others than before; their threshold alone may have changed.
    const renew = () => {
      const before = states;
      states = new Map();
      let news = false;
      for (const root of roots()) {
        const { key } = root.dataset;
        const state = before.get(key) ?? { hidden: new Set() };
        states.set(key, state);
        if (!before.has(key)) {
          news ||= key !== "";
          const sheet = root.querySelector(".sheet");
          const images = [...root.querySelectorAll(".sheet img")];
          sheet?.classList.add("loading"); // else old masks lie on the new picture
          Promise.allSettled(images.map((x) => x.decode())).then(() =>
            sheet?.classList.remove("loading"));
        }
        draw(root);
      }
      return news;
    };

    const preview = (at, row) => {
      for (const root of roots()) {
        const state = stateOf(root), pointed = root === at ? row : undefined;
        if (!state || state.previewed === pointed) continue;
        state.previewed = pointed;
        draw(root);
      }
    };
    element.addEventListener("pointerover", (event) => {
      if (event.pointerType !== "mouse") return;
      const row = rowOf(event.target), root = event.target.closest(".answers");
      preview(root, root && drawn(root, row) && !event.target.closest(".eye") ? row : undefined);
    });
    element.addEventListener("pointerleave", () => preview());
    element.addEventListener("click", (event) => {
      const row = rowOf(event.target), has = (css) => event.target.closest(css);
      const root = has(".answers"), state = root && stateOf(root);
      if (!state) return;
      if (has(".eye")) {
        state.hidden.delete(row) || state.hidden.add(row);
        state.alone = undefined;
        draw(root);
      } else if (drawn(root, row)) {
        state.alone = state.alone === row ? undefined : row;
        draw(root);
      } else if (has(".enlarge") || has(".sheet")) enlarge(root.querySelector(".sheet"));
      else if (has(".remove")) {
        document.dispatchEvent(new Event("unires:own-picture"));
        trigger("clear");
      }
    });
    document.addEventListener("click", (event) => {
      if (small.matches && event.target.closest("#find")) bringIntoView(element);
    });
    watch("value", () => {
      if (renew()) bringIntoView(element);
    });
    keys();
    messages();
    renew();
  };

  // The picture over the whole window; a click doubles it where it was clicked.
  const enlarge = (sheet) => {
    const dialog = document.createElement("dialog");
    dialog.className = "unires-zoom";
    dialog.setAttribute("aria-label", "The picture, enlarged");
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    const view = document.createElement("div");
    view.className = "view";
    view.tabIndex = 0;
    view.style.setProperty("--ratio", getComputedStyle(sheet).getPropertyValue("--ratio"));
    const copy = sheet.cloneNode(true);
    view.append(copy);
    dialog.append(close, view);
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    view.addEventListener("click", (event) => {
      if (!copy.contains(event.target)) return dialog.close();
      const box = copy.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width;
      const y = (event.clientY - box.top) / box.height;
      view.classList.toggle("near");
      view.scrollTo(copy.offsetWidth * x - view.clientWidth / 2,
        copy.offsetHeight * y - view.clientHeight / 2);
    });
    document.body.append(dialog);
    dialog.showModal();
  };

  // On touch, Enter is the only way to a new line; while a word is composed, part of it.
  const keys = () =>
    document.addEventListener("keydown", (event) => {
      const types = event.target.matches?.("#sentences textarea") && event.key === "Enter";
      if (types && (event.isComposing || touch.matches)) event.stopPropagation();
    }, { capture: true });

  // gradio's messages are buttons that hold a button, which screen readers cannot enter.
  const messages = () =>
    new MutationObserver(() => {
      for (const head of document.querySelectorAll(".toast-header[role=button]"))
        for (const name of ["role", "tabindex"]) head.removeAttribute(name);
    }).observe(document.body, { childList: true, subtree: true });

  return { picker, shelf, answers };
})();
