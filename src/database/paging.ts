/**
 * How many rows there are on all pages, when the page itself tells: the last one does, unless it is empty. Undefined means
 * that they have to be counted.
 */
export function totalFromPage(rows: number, { limit, offset }: { limit: number; offset: number }): number | undefined {
  const isLast = rows < limit && (rows > 0 || offset === 0);
  return isLast ? offset + rows : undefined;
}
