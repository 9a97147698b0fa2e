"use strict";
// Verdicts stay in the page until they are saved as a file; nothing is sent.
(() => {
  const fields = [...document.querySelectorAll("fieldset")];
  const chosen = (field) => field.querySelector("input:checked");
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const count = () => {
    const done = fields.filter(chosen).length;
    document.getElementById("count").textContent = `${done} of ${fields.length} judged`;
  };
  document.addEventListener("change", count);
  document.getElementById("save").addEventListener("click", () => {
    const judge = document.getElementById("judge").value;
    const lines = fields.filter(chosen).map((field) =>
      [field.dataset.pair, chosen(field).value, judge].map(quoted).join(","));
    const text = ["pair,verdict,judge", ...lines, ""].join("\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = "verdicts.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  count();
})();
