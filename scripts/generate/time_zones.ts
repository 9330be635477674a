/** Generates the links between names of time zones, as the tables of IANA have them. */
import tzdata from "tzdata" with { type: "json" };

/**
 * Former names of places whose present name is a link, too. Only comments of IANA's `backward` file name these places. The
 * compiled tables link both names to a third place with the same clock: `Iceland` to `Africa/Abidjan`.
 */
const formerNames = {
  "Africa/Asmera": "Africa/Asmara",
  "Africa/Timbuktu": "Africa/Bamako",
  "America/Coral_Harbour": "America/Atikokan",
  "America/Virgin": "America/St_Thomas",
  "Antarctica/South_Pole": "Antarctica/McMurdo",
  "Atlantic/Jan_Mayen": "Arctic/Longyearbyen",
  Iceland: "Atlantic/Reykjavik",
  "Pacific/Ponape": "Pacific/Pohnpei",
  "Pacific/Truk": "Pacific/Chuuk",
  "Pacific/Yap": "Pacific/Chuuk",
};

/** Returns a module with each link of IANA's `backward` file, by its name. */
export function generateTimeZones(): string {
  const zones: Record<string, unknown> = tzdata.zones;
  const links = Object.entries({ ...zones, ...formerNames }).filter(([, target]) => typeof target === "string").sort();
  return `
    /** Links of IANA's tables ${tzdata.version}: from another or former name of a time zone to its present name. */
    export const timeZoneLinks: Readonly<Record<string, string>> = ${JSON.stringify(Object.fromEntries(links))};
  `;
}
