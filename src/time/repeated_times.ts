/** Returns whether the wall clock shows this time twice, before and after it is set back. */
export function isRepeated(at: Temporal.ZonedDateTime): boolean {
  const wallTime = at.toPlainDateTime();
  const first = wallTime.toZonedDateTime(at.timeZoneId, { disambiguation: "earlier" });
  return !first.equals(wallTime.toZonedDateTime(at.timeZoneId, { disambiguation: "later" }));
}
