/**
 * The line between a server and its database, which can break, or hold a statement. It reads what passes (PostgreSQL, chapter
 * "Frontend/Backend Protocol"), so a statement is known by its text, also when it was prepared long before.
 */
import { Buffer } from "node:buffer";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** `before` the commit is asked for; or `after` Postgres has committed, and nobody was told yet. */
export type Moment = "before" | "after";

export interface DatabaseLine extends AsyncDisposable {
  /** For the server. */
  url: string;
  /**
   * Resolves when the next statement that matches is about to commit, or has committed, by itself or with its transaction.
   * From then on nothing gets through on its connection, in either direction: whoever waits for it is best killed.
   */
  hold(moment: Moment, statement: RegExp): Promise<void>;
  /** Breaks every connection. New ones can be made. */
  breakConnections(): void;
}

/** What is to be held. */
interface Hold {
  moment: Moment;
  statement: RegExp;
  reached: () => void;
}

/** Cuts what comes in any pieces into messages. The first one of a client has no type. */
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

/** The first two texts of a message. */
function texts(message: Buffer): [string, string] {
  const [first = "", second = ""] = message.toString("utf8", 5).split("\0", 2);
  return [first, second];
}

/** Passes on what comes from either end, until something of `holds` comes, which is taken out of them. */
function joinEnds({ client, database }: { client: Socket; database: Socket }, holds: Set<Hold>): void {
  const statements = new Map<string, string>();
  /** How many answers were asked for, and have come. The first one comes by itself. */
  let asked = 1;
  let answered = 0;
  let isInTransaction = false;
  let isHeld = false;
  /** Whose statement has run in a transaction that is not committed yet. */
  let beforeCommit: Hold | undefined;
  /** Whose statement is known to be committed by answer number `answer`, or by a later one. Until then answers are kept. */
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

/** A line to the database of `databaseUrl`. */
export async function newDatabaseLine(databaseUrl: string): Promise<DatabaseLine> {
  const { hostname, port } = new URL(databaseUrl);
  const holds = new Set<Hold>();
  const ends = new Set<Socket>();
  const listener = createServer((client) => {
    const database = connect(Number(port), hostname);
    for (const end of [client, database]) {
      // Messages are passed on one by one.
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
