/** Calls back with what a promise comes to. What the callbacks throw is reported as nobody's. */
export function whenSettled<T>(
  promise: Promise<T>,
  done: (value: T) => void,
  failed: (thrown: unknown) => void,
): void {
  void (async () => {
    let value: T;
    try {
      value = await promise;
    } catch (thrown) {
      failed(thrown);
      return;
    }
    done(value);
  })();
}
