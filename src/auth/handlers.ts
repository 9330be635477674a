import type { Handlers } from "../http/handlers.ts";

export function authHandlers(): Pick<Handlers, "getMe"> {
  return {
    getMe({ caller }) {
      const { userId: id, subject, role, name, email } = caller;
      return Promise.resolve({ status: 200, body: { id, subject, role, name, email } });
    },
  };
}
