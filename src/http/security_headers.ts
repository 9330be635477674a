/**
 * Headers of every answer of the API, which is no page. The edge sends `Strict-Transport-Security`, because only the edge
 * knows whether there is TLS. Those for pages only are left out: every header costs time.
 */
export const apiHeaders = {
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "SAMEORIGIN",
} as const;
