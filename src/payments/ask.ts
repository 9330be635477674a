/** Calls a payment provider, which may be slow, unreachable or faulty. */

/** Most milliseconds for an answer. A request for a booking waits only a little longer than this. */
export const providerLimitMs = 8_000;

/** The provider did not answer in time. It may still have done the request. */
export class ProviderTimeout extends Error {
  override name = "ProviderTimeout";
}

/**
 * Returns the answer of `call`. Never call it inside a database transaction, which a slow provider would keep open.
 *
 * @throws {ProviderTimeout} after {@link providerLimitMs}.
 */
export async function askProvider<Answer>(call: () => Promise<Answer>): Promise<Answer> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new ProviderTimeout(`no answer within ${providerLimitMs} ms`)),
    providerLimitMs,
  );
  try {
    return await Promise.race([call(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
