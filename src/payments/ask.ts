/** Asking a payment provider, which may be slow, or gone, or talk nonsense. */

/** Milliseconds that a provider has for an answer. Whoever waits for a booking waits no longer than this and a little. */
const answerLimitMs = 8_000;

/** The provider gave no answer in time. It may have done what it was asked for. */
export class ProviderTimeout extends Error {
  override name = "ProviderTimeout";
}

/**
 * Gives what `call` answers, or rejects after {@link answerLimitMs}. Never called inside a database transaction, which would
 * be held open by a stranger.
 */
export async function askProvider<Answer>(call: () => Promise<Answer>): Promise<Answer> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new ProviderTimeout(`no answer within ${answerLimitMs} ms`)),
    answerLimitMs,
  );
  try {
    return await Promise.race([call(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
