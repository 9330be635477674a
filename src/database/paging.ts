/**
 * Returns the number of rows on all pages if this page is the last one and not empty. Otherwise returns undefined, and the
 * rows must be counted.
 */
export function totalFromPage(rows: number, { limit, offset }: { limit: number; offset: number }): number | undefined {
  const isLast = rows < limit && (rows > 0 || offset === 0);
  return isLast ? offset + rows : undefined;
}
