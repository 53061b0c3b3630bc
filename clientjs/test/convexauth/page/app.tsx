import { useAuthActions } from "@convex-dev/auth/react";
import { Authenticated, AuthLoading, Unauthenticated, useConvexAuth, useMutation, useQuery } from "convex/react";
import { useRef, useState } from "react";
import { api } from "./api.js";
import { SignInForm } from "./form.js";

/** What a program of @convex-dev/auth looks like: public data for all, a form for who is signed out, the rest for who is not. */
export function App() {
  const { isLoading, isAuthenticated } = useConvexAuth();
  const me = useQuery(api.me);
  // Lives longer than the form, which is gone as soon as its user is signed in.
  const [visited, setVisited] = useState("");
  const add = useMutation(api.visit);
  const visit = (note: string) =>
    add({ note }).then(
      () => setVisited(`visited: ${note}`),
      (error: unknown) => setVisited(`not visited: ${String(error)}`),
    );
  return (
    <main>
      <h1>A school with ConvexAuthProvider</h1>
      <dl>
        <dt>Hook</dt>
        <dd id="hook">{isLoading ? "loading" : isAuthenticated ? "authenticated" : "unauthenticated"}</dd>
        <dt>Component</dt>
        <dd id="component">
          <AuthLoading>loading</AuthLoading>
          <Unauthenticated>unauthenticated</Unauthenticated>
          <Authenticated>authenticated</Authenticated>
        </dd>
        <dt>Server</dt>
        <dd id="server">{me === undefined ? "loading" : me === null ? "nobody" : me.nickname}</dd>
        <dt>Visit</dt>
        <dd id="visited">{visited}</dd>
      </dl>
      <Unauthenticated>
        <SignInForm onSignedIn={visit} />
      </Unauthenticated>
      <Authenticated>
        <Home visit={visit} />
      </Authenticated>
      <Front />
    </main>
  );
}

/** For everybody. */
function Front() {
  const courses = useQuery(api.courses) ?? [];
  const visits = useQuery(api.visits) ?? [];
  return (
    <>
      <h2>Courses</h2>
      <ul aria-label="Courses">
        {courses.map((c) => <li key={c._id}>{`${c.name}: ${c.members}`}</li>)}
      </ul>
      <h2>Visits</h2>
      <ul aria-label="Visits">
        {visits.map((v) => <li key={v._id}>{`${v.who}: ${v.note}`}</li>)}
      </ul>
    </>
  );
}

/** For who is signed in. Its queries are refused for nobody: one that ran a moment too early or too late would break the page. */
function Home({ visit }: { visit: (note: string) => Promise<void> }) {
  const { signOut } = useAuthActions();
  const me = useQuery(api.me);
  const enrolments = useQuery(api.enrolments);
  const note = useRef<HTMLInputElement>(null);
  if (me === undefined || enrolments === undefined) return <p>…</p>;
  return (
    <section aria-label="Home">
      <p id="me">{me === null ? "nobody" : `${me.nickname} <${me.email ?? ""}>, ${me.role}`}</p>
      <p id="enrolments">{enrolments.join(", ")}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void visit(note.current?.value ?? "");
        }}
      >
        <label>
          Note <input ref={note} name="note" />
        </label>
        <button>Leave a note</button>
      </form>
      <button onClick={() => void signOut()}>Sign out</button>
      {me !== null && !me.email && <SignInForm onSignedIn={visit} />}
    </section>
  );
}
