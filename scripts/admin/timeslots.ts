/** `admin timeslots`. */
import { type components, ProblemError, unwrap } from "@slotkeeper/client";
import { type Command, command, type Group, group } from "./command.ts";
import { connect } from "./connection.ts";
import { Interrupted, UsageError } from "./failures.ts";
import { type Given, present } from "./given.ts";
import { type Month, monthsBetween } from "./months.ts";
import { showProgress } from "./progress.ts";
import { printJson } from "./tables.ts";
import { hearInterruption } from "./terminal.ts";
import { count } from "./texts.ts";

type Rules = Pick<
  components["schemas"]["GenerateTimeslots"],
  "slotDuration" | "workingHours" | "breaks" | "daysOfWeek"
>;

/** How many may be asked for at once. */
const mostMonths = 120;

/** What a month has come to. */
interface Done {
  month: string;
  made: number;
  skipped: number;
}

const generate: Command = command({
  summary: "Offer timeslots in a room; those that exist are skipped",
  examples: [
    "--room 1 --from 2027-01-01 --to 2027-12-31",
    "--room 1 --from 2027-03-01 --to 2027-03-31 --days 1,2,3,4,5 --break 12:00-13:00",
  ],
  args: {
    room: { type: "string", required: true, valueHint: "id", description: "The room" },
    from: { type: "string", required: true, valueHint: "date", description: "The first day" },
    to: { type: "string", required: true, valueHint: "date", description: "The last day" },
    duration: { type: "string", valueHint: "minutes", description: "How long each one is; 30" },
    start: { type: "string", valueHint: "time", description: "When a day begins, on the clock of the room; 09:00" },
    end: { type: "string", valueHint: "time", description: "When it ends; 17:00. Before the start: the day after" },
    days: {
      type: "string",
      several: true,
      valueHint: "days",
      description: "Of the week, 1 (Monday) to 7, such as 1,2,3; all",
    },
    break: {
      type: "string",
      several: true,
      valueHint: "from-to",
      description: "Such as 12:00-13:00; several with commas",
    },
    exclude: {
      type: "string",
      several: true,
      valueHint: "dates",
      description: "Days to leave out; several with commas",
    },
  },
  async run(given) {
    const roomId = given.need("room", given.whole("room"));
    const from = given.need("from", given.date("from"));
    const to = given.need("to", given.date("to"));
    if (Temporal.PlainDate.compare(from, to) > 0) throw new UsageError("--to lies before --from");
    const months = monthsBetween(from, to);
    // As with a year that was mistyped: there would be hundreds of thousands of timeslots, and no command takes them back.
    if (months.length > mostMonths) throw new UsageError(`--from and --to span more than ${mostMonths} months`);
    const excluded = given.dates("exclude") ?? [];
    // It would be left out of nothing, and the day that was meant be offered.
    const stray = excluded.find((date) => !isWithin(date, { first: from, last: to }));
    if (stray !== undefined) throw new UsageError(`--exclude has ${stray}, which is not within --from and --to`);
    const rules = givenRules(given);
    const client = connect();
    using interruption = hearInterruption();
    const { signal } = interruption;

    const done: Done[] = [];
    const progress = showProgress(`Timeslots for room ${roomId}`, months.length);
    const print = (complete: boolean) =>
      given.flag("json") &&
      printJson({ roomId, from: String(from), to: String(to), complete, ...totals(done), months: done });
    try {
      for (const { month, first, last } of months) {
        progress.begin(month);
        const excludedDates = excluded.filter((date) => isWithin(date, { first, last })).map(String);
        const body = { roomId, startDate: String(first), endDate: String(last), ...rules, excludedDates };
        const answer = await unwrap(client.POST("/api/v1/admin/timeslots/generate", { body, signal }));
        done.push({ month, made: answer.count, skipped: answer.skipped });
        progress.end(`${month}: ${answer.count} made, ${answer.skipped} skipped`);
      }
    } catch (failure) {
      const month = months[done.length]?.month ?? "";
      progress.fail(failure instanceof Interrupted ? `Interrupted in ${month}` : `Ended in ${month}`);
      // Refused at once: nothing was done, and the same command would come to the same.
      if (failure instanceof ProblemError && done.length === 0) {
        print(false);
        throw failure;
      }
      // What was refused was not done. Of anything else we cannot know.
      const mayBeDone = failure instanceof ProblemError ? "" : ` ${month} may be done, too.`;
      const { made, skipped } = totals(done);
      console.error(
        `${done.length} of ${count(months.length, "month")} done: ${
          count(made, "timeslot")
        } made, ${skipped} skipped.` +
          `${mayBeDone}\nThe same command goes on: it skips what exists.`,
      );
      print(false);
      throw failure;
    }
    progress.finish(`${from} to ${to}`);
    if (given.flag("json")) return void print(true);
    const { made, skipped } = totals(done);
    console.log(`${count(made, "timeslot")} made, ${skipped} skipped as they would overlap others.`);
  },
});

export const timeslots: Group = group("Offer timeslots", { generate });

function givenRules(given: Given<"duration" | "start" | "end" | "days" | "break">): Rules {
  const hours = present({ start: given.text("start"), end: given.text("end") });
  const breaks = given.texts("break")?.map((text) => {
    const [, start, end] = /^(\d{2}:\d{2})-(\d{2}:\d{2})$/.exec(text) ?? [];
    if (start === undefined || end === undefined) throw new UsageError(`--break must be such as 12:00-13:00: ${text}`);
    return { start, end };
  });
  return present({
    slotDuration: given.whole("duration"),
    workingHours: Object.keys(hours).length === 0 ? undefined : hours,
    breaks,
    daysOfWeek: given.wholes("days"),
  });
}

const isWithin = (date: Temporal.PlainDate, { first, last }: Omit<Month, "month">): boolean =>
  Temporal.PlainDate.compare(first, date) <= 0 && Temporal.PlainDate.compare(date, last) <= 0;

const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);

function totals(done: Done[]): { made: number; skipped: number } {
  return { made: sum(done.map(({ made }) => made)), skipped: sum(done.map(({ skipped }) => skipped)) };
}
