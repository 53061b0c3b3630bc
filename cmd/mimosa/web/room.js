// The room: its messages and members, live, and the field to write in.
import { append, avatar, byId, dayOf, element, list, paintAvatar, plural, setText, timeElement } from "./dom.js";

const maxText = 2000; // characters, as the schema of messages:send has it
const together = 5 * 60 * 1000; // messages of one author closer than this stand under one name

export function setUpRoom(client, live) {
  const log = byId("log");
  const rowsOf = byId("messages");
  const text = byId("text");
  const error = byId("text-error");
  const newer = byId("newer");
  const composer = byId("composer");

  let current; // the id of the room shown
  let course = "";
  let me = null;
  let stops = [];
  let messages = [];
  let members = [];
  let pending = []; // what was sent and is not yet among the messages
  let count = 0; // of what was ever sent, to tell the pending apart
  let nothing = ""; // what stands in place of messages

  // Who reads the newest message goes on to see it, whatever happens to the size of the log. Whether that is so cannot be
  // told from its position, which a change of size has moved off the end before anybody hears of it: only scrolling back
  // ends it.
  let following = true;
  let position = 0;
  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const toEnd = () => {
    log.scrollTop = log.scrollHeight;
    position = log.scrollTop;
    following = true;
    newer.hidden = true;
  };

  function showMessages() {
    const last = messages.at(-1)?._id;
    const rows = [];
    let before;
    for (const m of [...messages, ...pending]) {
      const day = dayOf(m._creationTime);
      if (!before || dayOf(before._creationTime) !== day) {
        rows.push({ _id: `day ${day}`, day });
        before = undefined;
      }
      const more = before?.author._id === m.author._id && m._creationTime - before._creationTime < together;
      rows.push({ ...m, more });
      before = m;
    }
    if (rows.length === 0 && nothing) rows.push({ _id: `nothing ${nothing}`, nothing });
    list(rowsOf, rows, { create: createRow, update: updateRow });
    if (following) toEnd();
    else if (last !== log.dataset.last) newer.hidden = false;
    log.dataset.last = last ?? "";
  }

  function createRow(row) {
    if (row.day) return element("li", "day", row.day);
    if (row.nothing) return element("li", "nothing", row.nothing);
    const li = element("li", "message");
    const by = append(element("div", "by"), [element("b"), timeElement(row._creationTime)]);
    return append(li, [avatar(), by, element("div", "text")]);
  }

  function updateRow(li, row) {
    if (row.day || row.nothing) return;
    const { author } = row;
    const host = author.role === "school";
    const own = author._id === me?._id;
    li.className = ["message", own && "own", host && "host", row.more && "more", row.pending && "pending"].filter(Boolean).join(" ");
    const [face, by, words] = li.children;
    paintAvatar(face, author.nickname, author._id);
    setText(by.firstElementChild, own ? "You" : author.nickname);
    // What is not shown is still read out.
    by.classList.toggle("visually-hidden", host || row.more);
    setText(words, row.text);
  }

  function showMembers() {
    list(byId("members"), members, {
      create: () => append(element("li"), [avatar(), element("span", "name"), element("span", "badge")]),
      update: (li, member) => {
        const [face, name, badge] = li.children;
        paintAvatar(face, member.nickname, member._id);
        setText(name, member.nickname);
        setText(badge, member._id === me?._id ? "you" : "");
      },
    });
  }

  function showLeft() {
    const left = maxText - [...text.value].length;
    setText(byId("text-left"), left > 200 ? "" : left >= 0 ? `${plural(left, "character")} left` : `${plural(-left, "character")} too many`);
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
  }

  async function send() {
    const written = text.value;
    if (!written.trim() || !me) return;
    const room = current;
    const mine = {
      _id: `pending ${++count}`, _creationTime: Date.now(), text: written, pending: true,
      author: { _id: me._id, nickname: me.nickname, role: me.role },
    };
    pending.push(mine);
    text.value = "";
    fail("");
    showLeft();
    showMessages();
    toEnd();
    try {
      await client.mutation("messages:send", { room, text: written });
    } catch (problem) {
      if (room !== current) return;
      // Nothing that somebody wrote is lost.
      text.value = text.value ? `${written}\n${text.value}` : written;
      const issue = problem.issues?.find((i) => i.path === "text");
      fail(issue ? `The message ${issue.message}.` : `The message was not sent: ${problem.message}.`);
      showLeft();
      text.focus();
    } finally {
      // When the promise resolves, the message is in the list already.
      pending = pending.filter((p) => p !== mine);
      if (room === current) showMessages();
    }
  }

  function fail(message) {
    setText(error, message);
    if (message) text.setAttribute("aria-invalid", "true");
    else text.removeAttribute("aria-invalid");
  }

  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    void send();
  });
  text.addEventListener("keydown", (event) => {
    // Not while an input method composes: there Enter picks a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    void send();
  });
  text.addEventListener("input", () => {
    fail("");
    showLeft();
  });
  newer.addEventListener("click", () => {
    toEnd();
    text.focus();
  });
  log.addEventListener("scroll", () => {
    if (atEnd()) {
      following = true;
      newer.hidden = true;
    } else if (log.scrollTop < position) {
      following = false;
    }
    position = log.scrollTop;
  });
  // The banner, the members, a keyboard on the screen and a message of many lines take from the height of the log, and a
  // narrower window makes messages higher.
  const sizes = new ResizeObserver(() => {
    if (following) toEnd();
  });
  sizes.observe(log);
  sizes.observe(rowsOf);

  function leave() {
    for (const stop of stops) stop();
    stops = [];
    current = undefined;
    messages = members = pending = [];
    nothing = "";
    rowsOf.replaceChildren();
    byId("members").replaceChildren();
    newer.hidden = true;
    text.value = "";
    fail("");
  }

  return {
    get current() {
      return current;
    },

    leave,

    enter(room) {
      leave();
      current = room._id;
      course = room.course;
      stops = [
        live("messages:list", { room: current }, ({ status, value, error: problem }) => {
          nothing = { loading: "", ready: "Nobody has said anything yet.", error: `The messages cannot be shown: ${problem?.message}` }[status];
          messages = value ?? [];
          showMessages();
        }),
        live("members:list", { room: current }, ({ value }) => {
          members = value ?? [];
          showMembers();
        }),
      ];
      document.title = `${room.name}, Mimosa school`;
      toEnd();
      showLeft();
      if (matchMedia("(hover: hover)").matches) text.focus(); // on a phone that would open the keyboard
    },

    /** The room's counters, and whether the user may write in it. */
    setFacts(room, member) {
      setText(byId("room-name"), room.name);
      setText(byId("room-facts"), `${room.course}, ${plural(room.members, "member")}, ${plural(room.messages, "message")}`);
      composer.hidden = !member;
      const outsider = byId("outsider");
      outsider.hidden = member;
      setText(outsider, member ? "" : `You can read along. Only those who take ${course} can write here.`);
    },

    setMe(user) {
      me = user;
      if (current) {
        showMessages();
        showMembers();
      }
    },
  };
}
