/** Amounts of money. The database and the API have decimals with two places, the code counts hundredths. */
import { type RawBuilder, sql } from "kysely";

/** ISO 4217 currencies whose minor unit is the main unit itself; of MGA the fifths are not used. */
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

/** In ISO 4217, but too new for the runtime's list. */
const newCurrencies = ["SLE", "VED", "XCG", "ZWG"];
const currencies = new Set([...Intl.supportedValuesOf("currency"), ...newCurrencies]);

/** Whether `code` is a currency of ISO 4217. */
export function isCurrency(code: string): boolean {
  return currencies.has(code);
}

/** Whether amounts of the currency are whole. */
export function hasNoFractions(currency: string): boolean {
  return withoutFractions.includes(currency);
}

/** An amount as a person reads it, for example `EUR 45.00`. */
export function formatMoney(amount: number, currency: string): string {
  return `${currency} ${amount.toFixed(hasNoFractions(currency) ? 0 : 2)}`;
}

/** An amount in hundredths of the main unit. */
export function toCents(amount: string | number): number {
  return Math.round(Number(amount) * 100);
}

/** An amount rounded half up to what can be paid in the currency: two places, or none. Both are expressions. */
export function roundMoney(amount: RawBuilder<unknown>, currency: RawBuilder<string>): RawBuilder<string> {
  const places = sql`case when ${currency} in (${
    sql.join(withoutFractions.map((code) => sql.lit(code)))
  }) then 0 else 2 end`;
  return sql<string>`round(${amount}, ${places})::numeric(12, 2)`;
}
