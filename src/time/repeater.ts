/** Repeats work while the server runs. */
export class Repeater {
  private readonly stopped = Promise.withResolvers<void>();
  private isStopped = false;
  private running: Promise<void> = Promise.resolve();

  /** `run` must not reject. The pause between two runs is `intervalMs`. */
  constructor(private readonly run: () => Promise<void>, private readonly intervalMs: number) {}

  start(): void {
    this.running = this.repeat();
  }

  /** Starts no other run. Resolves after the last one. */
  async stop(): Promise<void> {
    this.isStopped = true;
    this.stopped.resolve();
    await this.running;
  }

  private async repeat(): Promise<void> {
    while (!this.isStopped) {
      await this.run();
      const pause = Promise.withResolvers<void>();
      const timer = setTimeout(pause.resolve, this.intervalMs);
      await Promise.race([pause.promise, this.stopped.promise]);
      clearTimeout(timer);
    }
  }
}
