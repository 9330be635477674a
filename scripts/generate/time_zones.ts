/** Generates the links between names of time zones, as the tables of IANA have them. */
import tzdata from "tzdata" with { type: "json" };

/** Returns a module with each link of IANA's `backward` file, by its name. */
export function generateTimeZones(): string {
  const zones: Record<string, unknown> = tzdata.zones;
  const links = Object.entries(zones).filter(([, target]) => typeof target === "string").sort();
  return `
    /** Links of IANA's tables ${tzdata.version}: from another or former name of a time zone to its present name. */
    export const timeZoneLinks: Readonly<Record<string, string>> = ${JSON.stringify(Object.fromEntries(links))};
  `;
}
