/** `admin timeslots`. */
import { type Client, type components, ProblemError, unwrap } from "@slotkeeper/client";
import { InvalidArgumentError } from "commander";
import type { AdminCommand, JsonOption } from "./command.ts";
import { connect } from "./connection.ts";
import { Interrupted, UsageError } from "./failures.ts";
import { type Month, monthsBetween } from "./months.ts";
import { date, list, present, whole } from "./options.ts";
import { showProgress } from "./progress.ts";
import { print, printJson, printNote, type Shell } from "./shell.ts";
import { count } from "./texts.ts";

type Body = components["schemas"]["GenerateTimeslots"];

/** Longest range. A mistyped year would create hundreds of thousands of timeslots, and no command deletes them. */
const mostMonths = 120;

interface GenerateOptions extends JsonOption {
  room: number;
  from: Temporal.PlainDate;
  to: Temporal.PlainDate;
  duration?: number;
  start?: string;
  end?: string;
  days?: number[];
  break?: { start: string; end: string }[];
  exclude?: Temporal.PlainDate[];
}

/** The result of one month. */
interface Generated {
  month: string;
  made: number;
  skipped: number;
}

export function timeslots(program: AdminCommand, shell: Shell): void {
  program.command("timeslots").description("Generate timeslots")
    .operation("generate", "Generate timeslots in a room and skip existing ones", [
      "--room 1 --from 2027-01-01 --to 2027-12-31",
      "--room 1 --from 2027-03-01 \\\n    --to 2027-03-31 --days 1,2,3,4,5 --break 12:00-13:00",
    ])
    .requiredOption("--room <id>", "Id of the room", whole)
    .requiredOption("--from <date>", "First day", date)
    .requiredOption("--to <date>", "Last day", date)
    .option("--duration <minutes>", "Length of a timeslot (default: 30)", whole)
    .option("--start <time>", "Start of a day in the room's time zone (default: 09:00)")
    .option("--end <time>", "End of a day (default: 17:00). If before the start, on the next day")
    .option("--days <day,...>", "Days of the week from 1, Monday, to 7 (default: all)", list(whole))
    .option("--break <from-to,...>", "Breaks, such as 12:00-13:00", list(toBreak))
    .option("--exclude <date,...>", "Days without timeslots", list(date))
    .action((options: GenerateOptions) => generate(shell, options));
}

async function generate(shell: Shell, options: GenerateOptions): Promise<void> {
  const { room: roomId, from, to, exclude = [], json } = options;
  if (Temporal.PlainDate.compare(from, to) > 0) throw new UsageError("--to lies before --from");
  const months = monthsBetween(from, to);
  if (months.length > mostMonths) throw new UsageError(`--from and --to span more than ${mostMonths} months`);
  // A mistyped day would exclude nothing, so the intended day would get timeslots.
  const stray = exclude.find((day) => !isWithin(day, { first: from, last: to }));
  if (stray !== undefined) throw new UsageError(`--exclude has ${stray}, which is not within --from and --to`);
  const client = connect(shell);
  using interruption = shell.listenForInterrupt();
  const { signal } = interruption;

  const results: Generated[] = [];
  const progress = showProgress(shell, `Timeslots for room ${roomId}`, months.length);
  const printResults = (complete: boolean) => {
    const range = { roomId, from: String(from), to: String(to) };
    if (json) printJson(shell, { ...range, complete, ...totals(results), months: results });
  };
  try {
    for (const month of months) {
      progress.begin(month.month);
      const result = await generateMonth(client, month, { options, signal });
      results.push(result);
      progress.end(`${result.month}: ${result.made} made, ${result.skipped} skipped`);
    }
  } catch (failure) {
    const month = months[results.length]?.month ?? "";
    progress.fail(failure instanceof Interrupted ? `Interrupted in ${month}` : `Ended in ${month}`);
    // A refusal of the first month changed nothing, and the same command would be refused again.
    if (!(failure instanceof ProblemError && results.length === 0)) {
      // The server may still finish a request without an answer. A refused one changed nothing.
      const mayBeDone = failure instanceof ProblemError ? "" : ` ${month} may be done too.`;
      const { made, skipped } = totals(results);
      const counts = `${results.length} of ${count(months.length, "month")} done: ${count(made, "timeslot")} made`;
      printNote(shell, `${counts}, ${skipped} skipped.${mayBeDone}`);
      printNote(shell, "Run the same command again to continue: it skips existing timeslots.");
    }
    printResults(false);
    throw failure;
  }
  progress.finish(`${from} to ${to}`);
  printResults(true);
  const { made, skipped } = totals(results);
  if (!json) {
    print(shell, `${count(made, "timeslot")} made, ${skipped} skipped because they overlap others or do not fit.`);
  }
}

interface MonthOptions {
  options: GenerateOptions;
  signal: AbortSignal;
}

async function generateMonth(client: Client, month: Month, { options, signal }: MonthOptions): Promise<Generated> {
  const { room: roomId, duration, start, end, days, break: breaks, exclude = [] } = options;
  const hours = present({ start, end });
  const body: Body = {
    roomId,
    startDate: String(month.first),
    endDate: String(month.last),
    excludedDates: exclude.filter((day) => isWithin(day, month)).map(String),
    ...present({ slotDuration: duration, breaks, daysOfWeek: days }),
    ...(Object.keys(hours).length === 0 ? {} : { workingHours: hours }),
  };
  const answer = await unwrap(client.POST("/api/v1/admin/timeslots/generate", { body, signal }));
  return { month: month.month, made: answer.count, skipped: answer.skipped };
}

function toBreak(text: string): { start: string; end: string } {
  const [, start, end] = /^(\d{2}:\d{2})-(\d{2}:\d{2})$/.exec(text) ?? [];
  if (start === undefined || end === undefined) throw new InvalidArgumentError("must be such as 12:00-13:00");
  return { start, end };
}

const isWithin = (day: Temporal.PlainDate, { first, last }: Omit<Month, "month">): boolean =>
  Temporal.PlainDate.compare(first, day) <= 0 && Temporal.PlainDate.compare(day, last) <= 0;

const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);

function totals(results: Generated[]): { made: number; skipped: number } {
  return { made: sum(results.map(({ made }) => made)), skipped: sum(results.map(({ skipped }) => skipped)) };
}
