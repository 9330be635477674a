/** The command line for admins, built on the SDK alone: `deno task admin --help`. */
import { bookings } from "./admin/bookings.ts";
import { group } from "./admin/command.ts";
import { events } from "./admin/events.ts";
import { keys } from "./admin/keys.ts";
import { runProgram } from "./admin/program.ts";
import { rooms } from "./admin/rooms.ts";
import { stats } from "./admin/stats.ts";
import { timeslots } from "./admin/timeslots.ts";

const admin = group("Look after rooms, timeslots and bookings of a Slotkeeper", {
  rooms,
  timeslots,
  bookings,
  stats,
  events,
  keys,
});

// What still listens or waits would hold the process up.
Deno.exit(await runProgram(admin, Deno.args));
