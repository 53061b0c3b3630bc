import { useAuthActions } from "@convex-dev/auth/react";
import { ConvexError } from "convex/values";
import { useState, type FormEvent } from "react";

type Issue = { path: string; rule: string; message: string };
type Refusal = { code: string; message: string; issues?: Issue[] };

/** The form for both flows. What is wrong stands beside its field, what belongs to none above the button. */
export function SignInForm({ onSignedIn }: { onSignedIn: (note: string) => Promise<void> }) {
  const { signIn } = useAuthActions();
  const [flow, setFlow] = useState<"signUp" | "signIn">("signUp");
  const [refusal, setRefusal] = useState<Refusal>();
  const [broken, setBroken] = useState("");

  const enter = (provider: string, params: FormData | Record<string, string>, how: string) => {
    setRefusal(undefined);
    setBroken("");
    signIn(provider, params)
      // At once, though the client has not presented its token yet.
      .then(({ signingIn }) => (signingIn ? onSignedIn(`at ${how}`) : undefined))
      .catch((error: unknown) => {
        if (error instanceof ConvexError) setRefusal(error.data as Refusal);
        else setBroken(String(error));
      });
  };
  const field = (name: string, label: string, type = "text") => {
    const issues = refusal?.issues?.filter(({ path }) => path === name) ?? [];
    return (
      <label>
        {label} <input name={name} type={type} aria-invalid={issues.length > 0} aria-describedby={`${name}-issue`} />
        <span className="issue" id={`${name}-issue`}>
          {issues.map(({ rule, message }) => `${message} [${rule}]`).join("; ")}
        </span>
      </label>
    );
  };
  return (
    <form
      aria-label="Entry"
      noValidate
      onSubmit={(event: FormEvent<HTMLFormElement>) => {
        event.preventDefault();
        enter("password", new FormData(event.currentTarget), flow);
      }}
    >
      <input type="hidden" name="flow" value={flow} />
      {field("email", "Email", "email")}
      {field("password", "Password", "password")}
      {flow === "signUp" && field("nickname", "Nickname")}
      {flow === "signUp" && field("course", "Course")}
      <p role="alert">{refusal ? `${refusal.code}: ${refusal.message}` : broken}</p>
      <button>{flow === "signUp" ? "Sign up" : "Sign in"}</button>
      <button type="button" onClick={() => setFlow(flow === "signUp" ? "signIn" : "signUp")}>
        {flow === "signUp" ? "I have an account" : "I have no account"}
      </button>
      <button type="button" onClick={() => enter("anonymous", {}, "anonymous")}>Look around</button>
      <button type="button" onClick={() => enter("sso", { course: "music", redirectTo: location.href }, "sso")}>
        Go on with the provider
      </button>
    </form>
  );
}
