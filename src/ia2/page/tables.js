// Tables that sort by a click or a key on a heading, and the form that filters the results.
// Without this script the tables stand as they were written.

(() => {
  "use strict";

  /** Sort every table of class `sortable`: by a heading up, down, and back to the order it was written in. */
  function makeSortable(table) {
    const body = table.tBodies[0];
    const written = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];

    headings.forEach((heading, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const order = following(heading);
        headings.forEach((one) => one.removeAttribute("aria-sort"));
        if (order) heading.setAttribute("aria-sort", order);
        body.append(...sorted(written, place, order));
      });
    });
  }

  /** The order that a click leads to: the best of numbers is mostly the greatest, so they go down first. */
  function following(heading) {
    const orders = heading.classList.contains("text") ? ["ascending", "descending"] : ["descending", "ascending"];
    return [...orders, null][orders.indexOf(heading.getAttribute("aria-sort")) + 1];
  }

  /** The rows in that order; rows that have nothing there come last either way. */
  function sorted(rows, place, order) {
    if (!order) return rows;
    const sign = order === "ascending" ? 1 : -1;
    const keyed = rows.map((row) => ({ row, key: keyOf(row.cells[place]) }));
    return keyed.sort((one, other) => compare(one.key, other.key, sign)).map((one) => one.row);
  }

  /** A number, a text, or null. */
  function keyOf(cell) {
    if (cell.dataset.number !== undefined) return Number(cell.dataset.number);
    return cell.classList.contains("missing") ? null : cell.textContent.trim() || null;
  }

  function compare(one, other, sign) {
    if (one === null || other === null) return (one === null) - (other === null);
    if (typeof one === "number" && typeof other === "number") return sign * (one - other);
    return sign * String(one).localeCompare(String(other));
  }

  /** Show the rows of the results that have every word, and whose evaluation set and model are chosen. */
  function filterResults(form) {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const set = form.elements.set ? form.elements.set.value : "";
    const boxes = [...form.querySelectorAll("input[name=label]")];
    const labels = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    let total = 0;
    for (const part of document.querySelectorAll(".result-set")) {
      const title = part.dataset.title;
      let inPart = 0;
      for (const row of part.querySelectorAll("tbody tr")) {
        const text = `${title} ${row.textContent}`.toLowerCase();
        const passes =
          (!set || set === title) &&
          (!boxes.length || labels.has(row.dataset.label)) &&
          words.every((word) => text.includes(word));
        row.hidden = !passes;
        inPart += passes;
        total += 1;
      }
      part.hidden = !inPart;
      shown += inPart;
    }
    form.querySelector("output").textContent =
      shown === total ? "" : shown ? `${shown} of ${total} rows` : "No row passes; choose less.";
  }

  document.querySelectorAll("table.sortable").forEach(makeSortable);

  const form = document.getElementById("result-filters");
  if (form) {
    form.hidden = false;
    form.addEventListener("input", () => filterResults(form));
    form.addEventListener("submit", (event) => event.preventDefault());
    filterResults(form); // a browser that goes back fills a form in again
  }
})();
