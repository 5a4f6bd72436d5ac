// The example browser: every query of an evaluation set, one at a time, and what the models answered.
// It takes the place of the first queries, which are what a page without scripts shows.

(() => {
  "use strict";

  const source = document.getElementById("answers-data");
  if (!source) return;
  const { texts, sets } = JSON.parse(source.textContent);
  const browser = document.getElementById("browser");
  const form = browser.querySelector("form");
  const { set: setChoice, run: runChoice, show: showChoice, words: wordsInput } = form.elements;
  const [previous, next] = browser.querySelectorAll(".pager button");
  const status = browser.querySelector("output");
  const article = browser.querySelector("article");
  const lowered = [];

  let chosen = sets[0];
  let matches = [];
  let place = 0; // in `matches`

  // What is shown

  /** The run of a model that is chosen, or nothing if it has none of that index. */
  const runOf = (model) => model.runs.find((run) => String(run.run) === runChoice.value);

  /** Whether each model that was asked a query answered it right. */
  const verdicts = (query) =>
    chosen.models.map((model) => runOf(model)?.correct[query] ?? null).filter((correct) => correct !== null);

  const SHOWN = {
    all: () => true,
    disagree: (query) => new Set(verdicts(query)).size > 1,
    wrong: (query) => verdicts(query).includes(0),
    none: (query) => !verdicts(query).includes(1),
  };

  /** Whether a query passes the choice; `model 3` stands for the queries that model 3 has wrong. */
  function passes(query) {
    const model = /^model (\d+)$/.exec(showChoice.value);
    return model ? runOf(chosen.models[model[1]])?.correct[query] === 0 : SHOWN[showChoice.value](query);
  }

  function hasWords(query, words) {
    if (!words.length) return true;
    const answers = chosen.models.map((model) => runOf(model)?.response[query]);
    const told = [chosen.question[query], chosen.gold[query], ...answers].filter((text) => text != null);
    const text = told.map((one) => (lowered[one] ??= texts[one].toLowerCase())).join("\n");
    return words.every((word) => text.includes(word));
  }

  /** Find the queries that pass, and stay at the one that is shown if it does. */
  function search() {
    const current = matches[place];
    const words = wordsInput.value.toLowerCase().split(/\s+/).filter(Boolean);
    matches = chosen.idx.map((_, query) => query).filter((query) => passes(query) && hasWords(query, words));
    place = Math.max(0, matches.indexOf(current));
    show();
  }

  // How it is shown

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  function mark(correct) {
    const made = element("span", "mark", correct ? "✓" : "✗");
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", correct ? "right" : "wrong");
    return made;
  }

  /** One model's answer: what it said, how it was read, how sure it was, and how its other runs did. */
  function answer(model, query) {
    const run = runOf(model);
    if (!run || run.correct[query] === null) {
      return element("div", "answer absent", element("dt", "", model.name), element("dd", "small", "not asked"));
    }
    const correct = Boolean(run.correct[query]);
    const parsed = run.parsed[query];
    const facts = [parsed === null ? "no answer found" : `read as “${texts[parsed]}”`];
    if (run.confidence[query] !== null) facts.push(`${run.confidence[query].toFixed(2)} sure`);
    if (model.runs.length > 1) {
      const others = model.runs.filter((one) => one.correct[query] !== null);
      facts.push(`right in ${others.filter((one) => one.correct[query]).length} of ${others.length} runs`);
    }
    return element(
      "div",
      `answer ${correct ? "right" : "wrong"}`,
      element("dt", "", mark(correct), ` ${model.name}`),
      element("dd", "", element("pre", "", texts[run.response[query]]), element("span", "small", facts.join(", "))),
    );
  }

  function show() {
    const query = matches[place];
    const isEmpty = query === undefined;
    previous.setAttribute("aria-disabled", isEmpty || place === 0); // not disabled, which would lose the focus
    next.setAttribute("aria-disabled", isEmpty || place === matches.length - 1);
    const kept = matches.length === chosen.idx.length ? "" : `, of ${chosen.idx.length}`;
    status.textContent = isEmpty
      ? "No query passes; choose less."
      : `${place + 1} of ${matches.length}${kept} (idx ${chosen.idx[query]})`;
    article.hidden = isEmpty;
    article.replaceChildren(...(isEmpty ? [] : contents(query)));
  }

  function contents(query) {
    const gold = element("p", "gold", "Gold answer: ", element("strong", "", texts[chosen.gold[query]]));
    const answers = element("dl", "", ...chosen.models.map((model) => answer(model, query)));
    return [element("pre", "question", texts[chosen.question[query]]), gold, answers];
  }

  /** Where the rest is. */
  function nameFiles() {
    const files = new Set(chosen.models.map((model) => runOf(model)?.file).filter(Boolean));
    const shown = chosen.idx.length;
    const number = shown < chosen.num_queries ? `${shown} of ${chosen.num_queries} queries` : `all ${shown} queries`;
    const runs = chosen.has_all_runs ? "" : " and one run of each model";
    const plural = files.size > 1 ? "s" : "";
    const told = `The page holds ${number}${runs}; their answers in full are in ${files.size} parquet file${plural}`;
    const list = [...files].flatMap((file, index) => [index ? ", " : "", element("code", "", file)]);
    const details = element("details", "", element("summary", "", told), ...list);
    browser.querySelector(".source").replaceChildren(details);
  }

  // What can be chosen

  function fill(select, options) {
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  }

  function chooseSet() {
    chosen = sets[setChoice.value];
    const runs = [...new Set(chosen.models.flatMap((model) => model.runs.map((run) => run.run)))];
    fill(runChoice, runs.sort((a, b) => a - b).map((run) => [run, run]));
    fill(showChoice, [
      ["all", "every query"],
      ["disagree", "where models disagree"],
      ["wrong", "where some model is wrong"],
      ["none", "where no model is right"],
      ...chosen.models.map((model, number) => [`model ${number}`, `wrong: ${model.name}`]),
    ]);
    matches = [];
    place = 0;
    nameFiles();
    search();
  }

  function go(to) {
    if (!matches.length) return;
    place = Math.min(Math.max(to, 0), matches.length - 1);
    show();
  }

  const KEYS = {
    ArrowLeft: () => go(place - 1),
    ArrowRight: () => go(place + 1),
    Home: () => go(0),
    End: () => go(matches.length - 1),
  };

  function typed(event) {
    const inField = event.target.matches("input, select");
    if (event.target === wordsInput && event.key === "Enter") go(place + 1);
    if (inField || event.altKey || event.ctrlKey || event.metaKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  }

  fill(setChoice, sets.map((one, number) => [number, one.title]));
  setChoice.addEventListener("change", chooseSet);
  runChoice.addEventListener("change", () => { nameFiles(); search(); });
  showChoice.addEventListener("change", search);
  wordsInput.addEventListener("input", search);
  form.addEventListener("submit", (event) => event.preventDefault());
  previous.addEventListener("click", () => go(place - 1));
  next.addEventListener("click", () => go(place + 1));
  browser.addEventListener("keydown", typed);
  chooseSet();
  browser.hidden = false;
  document.getElementById("first-queries").hidden = true;
})();
