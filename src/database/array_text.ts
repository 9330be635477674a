/** Numbers as Postgres writes an array, for `${arrayText(ids)}::text::bigint[]`. */
export function arrayText(numbers: number[]): string {
  return `{${numbers.join(",")}}`;
}
