/** Something that is done now and again for as long as the server runs. */
export class Repeater {
  private readonly stopped = Promise.withResolvers<void>();
  private isStopped = false;
  private running: Promise<void> = Promise.resolve();

  /** `run` deals with its failures; `intervalMs` lies between the end of one run and the beginning of the next. */
  constructor(private readonly run: () => Promise<void>, private readonly intervalMs: number) {}

  start(): void {
    this.running = this.repeat();
  }

  /** Resolves when the last run has ended. */
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
