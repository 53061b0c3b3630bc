// The page of the school. All that it shows comes from live queries: it never asks twice, and changes nothing by itself after
// a write, since what the write changed arrives before the write's promise resolves.
import { MimosaClient } from "./mimosa.js";
import { append, byId, element, list, mark, paintAvatar, paintMark, plural, setText } from "./dom.js";
import { setUpEntry } from "./entry.js";
import { setUpRoom } from "./room.js";

const client = new MimosaClient(location.origin);

/** Calls show with the query's result, now and whenever it changes. Returns what ends that. */
function live(name, args, show) {
  const watch = client.watch(name, args);
  const run = () => show(watch.getSnapshot());
  const stop = watch.subscribe(run);
  run();
  return stop;
}

const entry = setUpEntry(client);
const room = setUpRoom(client, live);
const view = () => document.body.dataset.view;

let rooms = [];
let about = new Map(); // what a course is about, by its name
let mine = []; // names of the courses that the user takes
let stopMine = () => {};

// Who is signed in decides what is shown. That state changes in one step with the results of the queries.
function showView() {
  const { status, error } = client.auth.state;
  const before = view();
  const now = { signedIn: "in", signedOut: "out", loading: "loading" }[status];
  if (now === before) return;
  document.body.dataset.view = now;
  stopMine();
  stopMine = () => {};
  mine = [];
  room.leave();
  if (now === "in") {
    stopMine = live("enrolments:mine", {}, ({ value }) => {
      mine = (value ?? []).map((e) => e.course);
      showEnrolments(value ?? []);
      showRooms();
      choose();
    });
    return;
  }
  document.title = "Mimosa school";
  if (now === "out") entry.open(error, before === "in");
}

function showMe({ value: me }) {
  room.setMe(me ?? null);
  if (!me) return;
  paintAvatar(byId("me-avatar"), me.nickname, me._id);
  setText(byId("me-nickname"), me.nickname);
  setText(byId("me-role"), me.role);
  setText(byId("me-email"), me.email);
}

function showFrontRooms() {
  list(byId("front-rooms"), rooms, {
    create: () => {
      const words = append(element("span", "grow"), [element("span", "name"), element("span", "quiet small")]);
      const counts = append(element("span", "count"), [element("span"), element("br"), element("span")]);
      return append(element("li"), [mark(), words, counts]);
    },
    update: (li, r) => {
      const [sign, words, counts] = li.children;
      paintMark(sign, r.course);
      setText(words.children[0], r.name);
      setText(words.children[1], about.get(r.course) ?? r.course);
      setText(counts.children[0], plural(r.members, "member"));
      setText(counts.children[2], plural(r.messages, "message"));
    },
  });
}

function showRooms() {
  list(byId("rooms"), rooms, {
    create: () => {
      const yours = append(element("span", "mine"), [element("span", "visually-hidden", "your course")]);
      yours.title = "Your course";
      const name = append(element("span", "name"), [element("span"), yours]);
      return append(element("li"), [append(element("a"), [mark(), append(element("span", "grow"), [name, element("span", "facts")])])]);
    },
    update: (li, r) => {
      const a = li.firstElementChild;
      a.href = `#/room/${r._id}`;
      if (r._id === room.current) a.setAttribute("aria-current", "page");
      else a.removeAttribute("aria-current");
      const [sign, words] = a.children;
      const [name, yours] = words.firstElementChild.children;
      paintMark(sign, r.course);
      setText(name, r.name);
      setText(words.children[1], `${plural(r.members, "member")}, ${plural(r.messages, "message")}`);
      yours.hidden = !mine.includes(r.course);
    },
  });
  const shown = rooms.find((r) => r._id === room.current);
  if (shown) room.setFacts(shown, mine.includes(shown.course));
}

function showEnrolments(enrolments) {
  list(byId("enrolments"), enrolments, {
    create: () => append(element("li"), [element("b"), element("span", "quiet small")]),
    update: (li, e) => {
      setText(li.children[0], e.course);
      setText(li.children[1], e.about);
    },
  });
}

/** Opens the room that the address names, or else that of the user's course. */
function choose() {
  if (view() !== "in") return;
  const asked = /^#\/room\/(.+)$/.exec(location.hash)?.[1];
  const found = rooms.find((r) => r._id === asked) ?? rooms.find((r) => mine.includes(r.course));
  if (!found || found._id === room.current) return;
  room.enter(found);
  showRooms();
  byId("rooms").querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
}

// How things stand with the server. A short break is not worth a word.
const patience = 700;
let waiting; // the timer of a break that was not told yet

function showConnection() {
  const { connected } = client.connection.state;
  if (connected) {
    clearTimeout(waiting);
    waiting = undefined;
    byId("state").dataset.state = "live";
    setText(byId("state-text"), "Live");
    byId("banner").hidden = true;
  } else if (waiting === undefined) {
    waiting = setTimeout(tellBreak, patience);
  } else if (!byId("banner").hidden) {
    tellBreak();
  }
}

function tellBreak() {
  const { hasEverConnected, queuedMutations, inFlightMutations } = client.connection.state;
  byId("state").dataset.state = hasEverConnected ? "lost" : "connecting";
  setText(byId("state-text"), hasEverConnected ? "Offline" : "Connecting");
  const unsent = queuedMutations + inFlightMutations;
  let words = "The school does not answer yet. Trying again…";
  if (hasEverConnected) words = "The connection is lost. Trying again…";
  if (unsent > 0) words += ` ${plural(unsent, "message")} will be sent once it is back.`;
  setText(byId("banner"), words);
  byId("banner").hidden = false;
}

byId("sign-out").addEventListener("click", async () => {
  history.replaceState(null, "", location.pathname);
  await client.auth.signOut();
});
addEventListener("hashchange", choose);

live("users:me", {}, showMe);
live("courses:list", {}, ({ value }) => {
  about = new Map((value ?? []).map((c) => [c.name, c.about]));
  entry.setCourses(value ?? []);
  showFrontRooms();
});
live("rooms:list", {}, ({ value }) => {
  rooms = value ?? rooms;
  showFrontRooms();
  showRooms();
  choose();
});
client.connection.subscribe(showConnection);
client.auth.subscribe(showView);
showConnection();
showView();
