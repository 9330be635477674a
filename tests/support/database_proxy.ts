/**
 * A proxy between a server and its database that can break connections or hold a statement. It parses the messages
 * (PostgreSQL, chapter "Frontend/Backend Protocol"), so it knows the texts of prepared statements.
 */
import { Buffer } from "node:buffer";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** `before` the server asks for the commit, or `after` Postgres has committed and before the server knows. */
export type Moment = "before" | "after";

export interface DatabaseProxy extends AsyncDisposable {
  /** `DATABASE_URL` of the server. */
  url: string;
  /**
   * Resolves when the next matching statement is about to commit or has committed, alone or with its transaction. From then
   * on its connection passes nothing in either direction, so the test kills the server.
   */
  hold(moment: Moment, statement: RegExp): Promise<void>;
  /** Closes every connection. New ones are accepted. */
  breakConnections(): void;
}

/** A statement to hold. */
interface Hold {
  moment: Moment;
  statement: RegExp;
  reached: () => void;
}

/** Splits a stream into messages. The first message of a client has no type. */
function messageReader(
  onMessage: (type: string, message: Buffer) => void,
  { hasUntyped }: { hasUntyped: boolean },
): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let typeLength = hasUntyped ? 0 : 1;
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= typeLength + 4) {
      const length = typeLength + rest.readInt32BE(typeLength);
      if (rest.length < length) return;
      const message = rest.subarray(0, length);
      rest = rest.subarray(length);
      onMessage(message.toString("latin1", 0, typeLength), message);
      typeLength = 1;
    }
  };
}

/** The first two strings of a message. */
function texts(message: Buffer): [string, string] {
  const [first = "", second = ""] = message.toString("utf8", 5).split("\0", 2);
  return [first, second];
}

/** Forwards messages in both directions until a statement of `holds` comes. Removes that from `holds`. */
function joinEnds({ client, database }: { client: Socket; database: Socket }, holds: Set<Hold>): void {
  const statements = new Map<string, string>();
  /** Numbers of answers requested and received. The first one needs no request. */
  let asked = 1;
  let answered = 0;
  let isInTransaction = false;
  let isHeld = false;
  /** Its statement ran in a transaction that is not committed yet. */
  let beforeCommit: Hold | undefined;
  /** Its statement is committed once answer number `answer`, or a later one, arrives. Answers are kept until then. */
  let afterCommit: { hold: Hold; answer: number } | undefined;
  let kept: Buffer[] = [];

  const reach = (hold: Hold) => {
    isHeld = true;
    hold.reached();
  };
  const run = (text: string) => {
    if (beforeCommit !== undefined && /^\s*commit/i.test(text)) return reach(beforeCommit);
    const hold = [...holds].find(({ statement }) => statement.test(text));
    if (hold === undefined) return;
    holds.delete(hold);
    if (hold.moment === "after") afterCommit = { hold, answer: asked + 1 };
    else if (isInTransaction) beforeCommit = hold;
    else reach(hold);
  };

  client.on(
    "data",
    messageReader((type, message) => {
      if (isHeld) return;
      if (type === "P") statements.set(...texts(message));
      if (type === "B") run(statements.get(texts(message)[1]) ?? "");
      if (type === "Q") run(texts(message)[0]);
      if (type === "Q" || type === "S") asked++;
      if (!isHeld) database.write(message);
    }, { hasUntyped: true }),
  );
  database.on(
    "data",
    messageReader((type, message) => {
      if (isHeld) return;
      kept.push(message);
      if (type === "Z") {
        answered++;
        isInTransaction = message.toString("latin1", 5) !== "I";
        if (afterCommit !== undefined && answered >= afterCommit.answer && !isInTransaction) {
          return reach(afterCommit.hold);
        }
      } else if (afterCommit !== undefined) {
        return;
      }
      client.write(Buffer.concat(kept));
      kept = [];
    }, { hasUntyped: false }),
  );
  for (const [end, other] of [[client, database], [database, client]] as const) {
    end.on("error", () => end.destroy());
    end.on("close", () => other.destroy());
  }
}

/** Starts a proxy to the database of `databaseUrl`. */
export async function newDatabaseProxy(databaseUrl: string): Promise<DatabaseProxy> {
  const { hostname, port } = new URL(databaseUrl);
  const holds = new Set<Hold>();
  const ends = new Set<Socket>();
  const listener = createServer((client) => {
    const database = connect(Number(port), hostname);
    for (const end of [client, database]) {
      // Messages are forwarded one by one.
      end.setNoDelay(true);
      ends.add(end);
      end.on("close", () => ends.delete(end));
    }
    joinEnds({ client, database }, holds);
  });
  await new Promise<void>((listening) => listener.listen(0, "127.0.0.1", listening));
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${(listener.address() as AddressInfo).port}`;
  const breakConnections = () => ends.forEach((end) => end.destroy());
  return {
    url: url.href,
    hold: (moment, statement) => new Promise((reached) => holds.add({ moment, statement, reached })),
    breakConnections,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => listener.close(done));
      breakConnections();
      await closed;
    },
  };
}
