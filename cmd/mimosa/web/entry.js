// The form by which people sign up and sign in. It checks nothing itself: the server says what is wrong, each issue with the
// path of its field, and this puts it beside the field.
import { append, byId, element, list, setText } from "./dom.js";

const labels = { email: "Email", password: "Password", nickname: "Nickname", course: "Course" };

export function setUpEntry(client) {
  const form = byId("entry");
  const alert = byId("entry-alert");
  const button = byId("enter");
  const password = byId("password");
  const reveal = byId("reveal");
  let busy = false;

  const flow = () => form.elements.flow.value;

  function showFlow() {
    form.dataset.flow = flow();
    password.autocomplete = flow() === "signUp" ? "new-password" : "current-password";
    clearErrors();
    showButton();
  }

  function showButton() {
    const words = { signUp: ["Sign up", "Signing up…"], signIn: ["Sign in", "Signing in…"] }[flow()];
    setText(button, words[busy ? 1 : 0]);
    // Not disabled, which would take the focus away.
    button.setAttribute("aria-disabled", String(busy));
  }

  function clearErrors() {
    for (const name of Object.keys(labels)) {
      byId(name).removeAttribute("aria-invalid");
      byId(`${name}-error`).textContent = "";
    }
    alert.hidden = true;
  }

  function showErrors(error) {
    const elsewhere = [];
    let first;
    for (const issue of error.issues ?? []) {
      const field = labels[issue.path] && byId(issue.path);
      if (!field || field.closest(".sign-up") && flow() === "signIn") {
        elsewhere.push(`${issue.path} ${issue.message}`);
        continue;
      }
      const line = byId(`${issue.path}-error`);
      if (line.textContent) continue; // one thing at a time
      line.textContent = `${labels[issue.path]} ${issue.message}.`;
      field.setAttribute("aria-invalid", "true");
    }
    first = form.querySelector("[aria-invalid=true]");
    if (first?.matches("fieldset")) first = first.querySelector("input");
    if (!first || elsewhere.length > 0) say(elsewhere.join("; ") || error.message);
    (first ?? alert).focus();
  }

  function say(text) {
    alert.textContent = text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".");
    alert.hidden = false;
  }

  function showPassword(shown) {
    password.type = shown ? "text" : "password";
    reveal.setAttribute("aria-pressed", String(shown));
    setText(reveal, shown ? "Hide" : "Show");
    reveal.setAttribute("aria-label", shown ? "Hide the password" : "Show the password");
  }

  form.addEventListener("change", (event) => {
    if (event.target.name === "flow") showFlow();
  });
  form.addEventListener("input", (event) => {
    const name = event.target.name;
    if (!labels[name]) return;
    byId(name).removeAttribute("aria-invalid");
    byId(`${name}-error`).textContent = "";
  });
  reveal.addEventListener("click", () => showPassword(password.type === "password"));

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    clearErrors();
    const { email, password: secret, nickname, course } = Object.fromEntries(new FormData(form));
    busy = true;
    showButton();
    try {
      if (flow() === "signUp") await client.auth.signUp("password", { email, password: secret, nickname, course });
      else await client.auth.signIn("password", { email, password: secret });
      form.reset();
      showPassword(false);
      showFlow();
    } catch (error) {
      showErrors(error);
    } finally {
      busy = false;
      showButton();
    }
  });

  showPassword(false);
  showFlow(); // a browser may have kept the choice across a reload

  return {
    /** Shows the form after a sign-out, with why the session ended if somebody else ended it. */
    open(error, moveFocus) {
      if (error) say(`You have been signed out: ${error.message}`);
      if (moveFocus) byId("email").focus();
    },

    setCourses(courses) {
      list(byId("courses"), courses, {
        create: (course) => {
          const input = element("input");
          input.type = "radio";
          input.name = "course";
          input.value = course.name;
          return append(element("label", "choice"), [input, element("span")]);
        },
        update: (label, course) => setText(label.lastElementChild, course.name),
      });
    },
  };
}
