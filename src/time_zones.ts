/** Names of time zones. */
import { timeZoneLinks } from "../generated/time_zones.ts";

/**
 * Returns the present IANA name of a time zone, in IANA's spelling. `europe/berlin` gives `Europe/Berlin`, and
 * `Asia/Calcutta` gives `Asia/Kolkata`. Undefined if the runtime knows no such zone. An offset such as `+02:00` is none.
 *
 * Names of UTC give `UTC`, as in ECMA-402. IANA also links different places whose clocks agree since 1970, for example
 * Europe/Amsterdam to Europe/Brussels. Those keep their names.
 */
export function ianaName(zone: string): string | undefined {
  const spelled = spelling(zone);
  if (spelled === undefined) return undefined;
  const place = placeOf(spelled);
  if (place === "UTC") return "UTC";
  const target = timeZoneLinks[spelled];
  return target !== undefined && placeOf(target) === place ? target : spelled;
}

/** Returns the name in IANA's spelling, in which other programs find it. */
function spelling(zone: string): string | undefined {
  if (!/^[A-Za-z]/.test(zone)) return undefined;
  try {
    return Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone).timeZoneId;
  } catch {
    return undefined;
  }
}

/** Returns the runtime's stable name for the place. It is the same for all names of the place, and may be an old one. */
function placeOf(zone: string): string | undefined {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: zone }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}
