// Who signs in.
export const ada = { email: "ada@example.org", password: "engine no. 1", nickname: "Ada", course: "databases" };
export const grace = { email: "grace@example.org", password: "compiler-a0", nickname: "Grace", course: "music" };
export const nadia = { email: "nadia@example.org", password: "mademoiselle", nickname: "Nadia", course: "music" };
