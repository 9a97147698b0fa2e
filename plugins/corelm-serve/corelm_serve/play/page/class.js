// A class: the teacher shows how to join and sends a state to all; students get it.

import { get, post } from "./api.js";
import { announce, byId, h } from "./dom.js";
import { toFragment, toSaved } from "./link.js";
import { watched } from "./notices.js";
import { state } from "./state.js";

const EVERY = 2000; // ms between two questions of a student's page
const SEEN = "corelm-class"; // the number of the state that was opened last, which reloading keeps

export function enterClass(role) {
  if (role === "teacher") teach();
  if (role === "student") follow();
}

function teach() {
  byId("class-open").hidden = false;
  byId("class-open").addEventListener("click", async () => {
    byId("class").showModal();
    await watched("class", async () => show(await get("/api/class")));
  });
  byId("class-send").addEventListener("click", () => watched("class", async () => {
    await post("/api/class", { state: toSaved(state) });
    byId("class-note").textContent = "Sent: each page opens it within two seconds.";
    announce("sent to all");
  }));
}

function show({ joined, picture, ...about }) {
  for (const name of ["address", "code"]) byId(`class-${name}`).textContent = about[name];
  byId("class-note").textContent = joined === 1 ? "One student has joined." : `${joined} students have joined.`;
  byId("class-picture").replaceChildren(...(picture ? [h("img", { src: picture, alt: `QR code of ${about.address} with the code` })] : []));
}

// Open what the teacher sends, as a link would: Back returns to the student's own state.
async function follow() {
  await watched("class", async () => {
    const { version, state: sent } = await get("/api/class");
    if (sent && version > Number(sessionStorage.getItem(SEEN) ?? 0)) {
      sessionStorage.setItem(SEEN, String(version));
      location.hash = toFragment(sent);
      announce("The teacher has sent a state. Back returns to yours.");
    }
  });
  setTimeout(follow, EVERY);
}
