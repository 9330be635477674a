/** Amounts of money. The database and the API use decimals with two places, the code uses hundredths. */
import { type RawBuilder, sql } from "kysely";

/** ISO 4217 currencies without a minor unit. The fifths of MGA are not in use. */
const withoutFractions = [
  "BIF",
  "CLP",
  "DJF",
  "GNF",
  "ISK",
  "JPY",
  "KMF",
  "KRW",
  "MGA",
  "PYG",
  "RWF",
  "UGX",
  "UYI",
  "VND",
  "VUV",
  "XAF",
  "XOF",
  "XPF",
];

/** Currencies of ISO 4217 that the runtime does not know yet. */
const newCurrencies = ["SLE", "VED", "XCG", "ZWG"];
const currencies = new Set([...Intl.supportedValuesOf("currency"), ...newCurrencies]);

/** Returns whether `code` is a currency of ISO 4217. */
export function isCurrency(code: string): boolean {
  return currencies.has(code);
}

/** Returns whether amounts of the currency are whole. */
export function hasNoFractions(currency: string): boolean {
  return withoutFractions.includes(currency);
}

/** Formats an amount for people, for example `EUR 45.00`. */
export function formatMoney(amount: number, currency: string): string {
  return `${currency} ${amount.toFixed(hasNoFractions(currency) ? 0 : 2)}`;
}

/** Converts an amount to hundredths of the main unit. */
export function toCents(amount: string | number): number {
  return Math.round(Number(amount) * 100);
}

/** Returns an SQL expression that rounds an amount half up: to two places, or to none without fractions. */
export function roundMoney(amount: RawBuilder<unknown>, currency: RawBuilder<string>): RawBuilder<string> {
  const places = sql`case when ${currency} in (${
    sql.join(withoutFractions.map((code) => sql.lit(code)))
  }) then 0 else 2 end`;
  return sql<string>`round(${amount}, ${places})::numeric(12, 2)`;
}
