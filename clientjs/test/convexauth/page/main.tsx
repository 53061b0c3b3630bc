import { ConvexAuthProvider } from "@convex-dev/auth/react";
import { ConvexReactClient } from "convex/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.js";

// ?server= is the address of a server elsewhere. ?leeway= is how many seconds before its end a token is replaced; without it
// the client is as it comes.
const query = new URLSearchParams(location.search);
const leeway = query.get("leeway");
const client = new ConvexReactClient(
  query.get("server") ?? location.origin,
  leeway === null ? {} : { authRefreshTokenLeewaySeconds: Number(leeway) },
);

const root = document.getElementById("root");
if (root === null) throw new Error("the page has no root");
createRoot(root).render(
  <StrictMode>
    <ConvexAuthProvider client={client}>
      <App />
    </ConvexAuthProvider>
  </StrictMode>,
);
